"""Uploads artifacts: createArtifact, PUT, finish; certify."""
