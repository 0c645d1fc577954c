"""Faults at random: processes killed and stopped while telemetry flows, then the books compared."""
