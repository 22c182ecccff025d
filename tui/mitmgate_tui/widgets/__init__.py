"""The parts of a screen: each draws what it is given and decides nothing."""
