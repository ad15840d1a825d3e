"""The demo world: pictures whose truth is known by construction, tasks about them, and what comes out of a run."""
