"""How far generated pictures and decoded actions are from the truth. Pure numpy; no model, no weights."""
