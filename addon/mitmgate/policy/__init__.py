"""YAML to a Policy, and a Policy and a call to a Decision: pure but for the files it reads."""
