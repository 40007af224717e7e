"""The running of the platform: dead letters, and the sweeps of the outbox, overdue sagas and expired holds."""
