"""What every capability stands on: money, ids, time, refusals, storage, secrets, telemetry and the glue to Lambda."""
