"""What the pages share: the frame, the session, the controls, and the results that the engine computes."""
