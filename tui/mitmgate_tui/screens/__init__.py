"""The screens: each module holds one."""
