"""The gateways for messages to persons: SMTP, an SMS gateway and Firebase Cloud Messaging."""
