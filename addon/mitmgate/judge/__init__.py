"""The one judgement path: inputs to outcomes, live and replayed alike."""
