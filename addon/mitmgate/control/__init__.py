"""What proxy, console and shell say to each other."""
