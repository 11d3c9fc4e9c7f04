"""What a run would take, told before it is launched: steps, memory, time and disk. No torch, no worker: arithmetic.

``estimate.py`` puts the parts together; the launch page and the API show what it says.
"""
