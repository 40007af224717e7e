"""Payments and refunds, from creation over authorization and capture to settlement."""
