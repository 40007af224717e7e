"""The functions in this process: loaded when they are called, unloaded when they are idle, and invoked."""
