"""Reads a text of OpenMetrics from standard input with the reference parser, which accepts nothing that the standard
does not, and writes what it read to standard output as JSON:

    [{"name", "type", "unit", "help", "samples": [{"name", "labels": {...}, "value"}]}]
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

families = []
for family in text_string_to_metric_families(sys.stdin.read()):
    samples = [{"name": sample.name, "labels": sample.labels, "value": sample.value} for sample in family.samples]
    families.append(
        {"name": family.name, "type": family.type, "unit": family.unit, "help": family.documentation, "samples": samples}
    )
json.dump(families, sys.stdout)
