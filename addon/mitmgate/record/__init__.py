"""What mitmgate writes down: audit lines and captures, with every secret replaced first."""
