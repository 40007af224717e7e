"""The notifications domain: tells users about their payments by e-mail, SMS and push, as they have chosen."""
