"""The bank transfer rail: transfers by a partner bank's API, and the settlement files of a bank (CNAB 240)."""
