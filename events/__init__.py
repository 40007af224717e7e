"""The event contracts: a model for each type, their catalogue, and their export as JSON Schema and AsyncAPI."""
