"""The contract with the framework: the decorators that make a coroutine a deployable function, and its process."""
