"""Frames, their rows and their times on disk: written while they come, readable at any moment.

Nothing here knows an instrument.  :mod:`.columns` says what is known of a frame, :mod:`.facts` what
of that the camera's reader knows at once.
"""
