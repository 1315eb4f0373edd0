"""The DSL: a graph of Python functions, checked when it is defined. docs/dag-definition.md shows how it is used."""

from engine.dsl.dag import Dag
from engine.dsl.errors import DagDefinitionError
from engine.dsl.include import Included
from engine.dsl.node import Node, NodeOptions
from engine.dsl.running import DagBatch, DagResult, RunOptions

__all__ = ["Dag", "DagBatch", "DagDefinitionError", "DagResult", "Included", "Node", "NodeOptions", "RunOptions"]
