"""Stage: potentials judged by what people use them for."""
