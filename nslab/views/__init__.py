"""Pictures and tables of desired and existing state: functions from values to text."""
