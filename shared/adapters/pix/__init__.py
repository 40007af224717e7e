"""The PIX rail: charges at a provider with the API of the Banco Central, and the reading of its callbacks."""
