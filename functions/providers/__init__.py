"""Deposits through payment providers: charges requested, callbacks received, amounts credited."""
