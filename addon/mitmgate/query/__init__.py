"""Questions over audit records, answered in one pass and bounded memory."""
