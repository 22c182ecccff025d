"""Recorded exchanges through the judgement path again, and what came out differently."""
