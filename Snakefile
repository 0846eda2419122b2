"""PES Atlas: configuration, rule files and targets; the rules are in workflow/rules."""

import os

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from pesatlas.campaign.load import ONLY_LOOKING, load_campaign
from pesatlas.errors import UserError

min_version("9.27")


# A file given with --configfile stands alone: merging a preset into config.yaml would mix two campaigns.
if not workflow.overwrite_configfiles:

    configfile: "config.yaml"


try:
    campaign = load_campaign(
        config,
        " ".join(map(str, workflow.overwrite_configfiles or ["config.yaml"])),
        # who only looks at the jobs needs neither the program nor the pseudopotentials of the labels
        labels_here=ONLY_LOOKING not in os.environ,
    )
except UserError as error:
    raise WorkflowError(str(error)) from None


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/structures.smk"
include: "workflow/rules/explore.smk"
include: "workflow/rules/encode.smk"
include: "workflow/rules/select.smk"
include: "workflow/rules/label.smk"
include: "workflow/rules/dataset.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/benchmark.smk"
include: "workflow/rules/report.smk"


if campaign.round:

    include: "workflow/rules/round.smk"


if campaign.compare:

    include: "workflow/rules/compare.smk"


rule all:
    default_target: True
    input:
        path_of("manifest"),
        path_of("report"),
        path_of("card"),
        expand(path_of("export"), format=campaign.dataset.exports.formats),
        trained(path_of("potential_card")),
        benchmarked(),
        [path_of("comparison")] if campaign.compare else [],
