"""The flags port on Unleash: its state is read in the background, and evaluated in this process."""
