"""Everything that crosses a wire; imports nothing of ours."""
