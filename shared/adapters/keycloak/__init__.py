"""The identity port on a realm of Keycloak, or of another OpenID Connect provider: its keys and clients."""
