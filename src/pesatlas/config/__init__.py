"""The configuration: pydantic models, one module for each section of ``config.yaml``.

``campaign`` is the root, ``load`` reads and checks a file, ``render`` writes commented YAML and the JSON
Schema. Extension modules import ``pesatlas.config.section`` only, so that they can be discovered while this
package loads.
"""
