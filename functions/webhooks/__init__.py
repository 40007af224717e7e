"""The webhooks domain: sends a tenant's events to the tenant's own endpoints, signed by Standard Webhooks."""
