"""The gateway: routes requests as the Kong configuration says, with its limits, and serves the OpenAPI document."""
