"""Stage: benchmarks of potentials by properties that matter in use."""
