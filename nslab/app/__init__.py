"""What one can do with labs, a module each: functions that read, decide by the pure parts, act through `linux`, and
return values. The command line and the pytest plugin call the same ones; nothing here prints.
"""
