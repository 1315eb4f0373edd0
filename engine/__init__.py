"""A DAG engine that stands alone: missions in, ordered and bounded execution, signed audit out."""
