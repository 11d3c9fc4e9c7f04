"""Texts of the training engine, which knows no Django: listed here for the catalogues, looked up when shown.

tests/test_stored_texts.py fails when the engine says something that is missing here.
"""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop

SHAPE_CAUSE = "shape_"
"""Before the code of a bad shape (shapes.py), where a notice names it as its cause."""

CAUSES = {
    "disk_limit": _("The run's files have reached its limit."),
    "hour_limit": _("The run has trained for as long as its limit allows."),
    "bad_checkpoint": _("The checkpoint does not fit this run."),
    "nan_loss": _("The training diverged: loss or gradient is no finite number."),
    "no_data": _("No pair is left to train on."),
    "peer_lost": _("Another process of the run was lost."),
    "left": _("A worker that took part was shut down."),
    "no_tracker": _("The tracker is not installed where the run was worked."),
    SHAPE_CAUSE + "not_finite": _("The loss is no number"),
    SHAPE_CAUSE + "chance": _("The accuracy stays at chance"),
    SHAPE_CAUSE + "inverted": _("The rejected responses win"),
    SHAPE_CAUSE + "distance": _("The model runs away from its reference"),
    SHAPE_CAUSE + "fall": _("Chosen and rejected responses both become unlikely"),
    SHAPE_CAUSE + "spike": _("The loss jumped"),
    SHAPE_CAUSE + "gradient": _("The gradient jumped"),
    SHAPE_CAUSE + "flat": _("The loss does not fall"),
    SHAPE_CAUSE + "overfit": _("The held-out loss rises"),
    SHAPE_CAUSE + "length": _("Rewards follow length"),
}

REASONS = (
    gettext_noop("must be one of %(choices)s"),
    gettext_noop("does not apply to %(method)s"),
    gettext_noop("is no setting"),
    gettext_noop("must be at least %(bound)s"),
    gettext_noop("must be at most %(bound)s"),
    gettext_noop("must be true or false"),
    gettext_noop("must be a number"),
    gettext_noop("must be a finite number"),
    gettext_noop("must be a whole number"),
    gettext_noop("must be smaller than max_length, or no room is left for the replies"),
    gettext_noop("must be written as %(example)s"),
    gettext_noop("names %(grade)s twice"),
)
"""Why a setting is refused; see training/engine/config.py."""

TEXTS = (
    gettext_noop("It has trained for %(hours)s hours, its limit. Raise the limit and resume it."),
    gettext_noop(
        "Its files take %(size)s GB, its limit is %(limit)s GB. Raise the limit and resume it, or clone it with fewer "
        "checkpoints kept."
    ),
    gettext_noop(
        "The checkpoint and its predecessor need %(needed)s GB, %(free)s GB are free. Free some space, then resume the "
        "run."
    ),
    gettext_noop("Waiting for other workers: %(here)d of %(all)d are here"),
    gettext_noop("Waiting until all workers have the data"),
    gettext_noop("Waiting for the other workers"),
    gettext_noop("Not enough workers are free for all its parts; waiting for them."),
    gettext_noop("Another run of several machines goes first."),
    gettext_noop("Workers that are free did not join."),
    gettext_noop("The workers lost touch with each other."),
    gettext_noop("A worker that took part was shut down; waiting to go on."),
    gettext_noop("Another process of the run was lost."),
    gettext_noop("Reading the data"),
    gettext_noop("Loading the model"),
    gettext_noop("Computing reference log-probabilities %(done)d/%(total)d"),
    gettext_noop("Evaluating %(done)d/%(total)d"),
    gettext_noop("Training: step %(step)d of %(total)d"),
    gettext_noop("Saving the checkpoint of step %(step)d"),
    gettext_noop("Saving the model"),
    gettext_noop("Taken up from step %(step)d of %(total)d."),
    gettext_noop("No held-out pair is usable, so nothing is evaluated."),
    gettext_noop("max_length lowered from %(asked)d to the model's %(limit)d tokens."),
    gettext_noop("This architecture needs the full forward pass, which costs more memory."),
    gettext_noop("%(folder)s holds no sound checkpoint; the run starts from the base model."),
    gettext_noop("The reference's log-probabilities could not be kept for other runs: %(reason)s."),
    gettext_noop("The reference's log-probabilities were taken from an earlier run on the same data and model."),
    gettext_noop("This architecture does not allow prompts to be shared; each reply repeats its prompt."),
    gettext_noop("Activations are computed twice (gradient checkpointing), since they would not fit in memory."),
    gettext_noop("The model is sharded over %(number)d processes."),
    gettext_noop("All held-out pairs have the same prompt, so nothing is evaluated."),
    gettext_noop("The base model gives some replies a probability that is no finite number."),
    gettext_noop("%(file)s holds no pair to train on: %(reasons)s."),
    gettext_noop("%(file)s holds no pair that counts: all weights are 0."),
    gettext_noop("KTO needs at least two different prompts."),
    gettext_noop("the file is empty"),
    gettext_noop("longer than the limit"),
    gettext_noop("both responses are the same"),
    gettext_noop("both responses are the same within the limit"),
    gettext_noop("a response is empty"),
    gettext_noop("the prompt has no messages"),
    gettext_noop("the prompt alone fills the limit"),
    gettext_noop("the model's chat template refuses the conversation"),
    gettext_noop("SFT learns from wanted responses alone"),
)
"""Progress and remarks of a run, why none of its data can be used, and why records are left out (reasons.py)."""

SETTINGS = (
    gettext_noop("Optimisation"),
    gettext_noop("Learning rate"),
    gettext_noop("Peak step size of AdamW. With LoRA, about ten times the value for full fine-tuning works well."),
    gettext_noop("Epochs"),
    gettext_noop("Passes over the training pairs. Reward models overfit after one."),
    gettext_noop("Stop after this many steps; 0 means no limit."),
    gettext_noop("Batch size"),
    gettext_noop("Pairs in one forward pass on each device. Limits memory."),
    gettext_noop("Gradient accumulation"),
    gettext_noop("Forward passes in one step. The step sees batch size × this many pairs."),
    gettext_noop("Schedule"),
    gettext_noop(
        "How the learning rate falls after warm-up: cosine ends at a tenth, linear at zero, inverse square "
        "root falls with one over the root of the steps."
    ),
    gettext_noop("cosine"),
    gettext_noop("linear"),
    gettext_noop("constant"),
    gettext_noop("inverse square root"),
    gettext_noop("Share of the steps that warm up linearly."),
    gettext_noop("Warm up for at least this many steps, whatever the share."),
    gettext_noop("Weight decay"),
    gettext_noop("AdamW's weight decay on matrices."),
    gettext_noop("Gradients are scaled down to this norm; 0 switches it off."),
    gettext_noop("Seed"),
    gettext_noop("Fixes order and initialisation."),
    gettext_noop("Loss"),
    gettext_noop(
        "How much a pair counts: all alike; by its number of votes; by how far they agree; or weight of the "
        "file. Weights are scaled to mean 1."
    ),
    gettext_noop("off"),
    gettext_noop("votes"),
    gettext_noop("agreement"),
    gettext_noop("file"),
    gettext_noop("Text"),
    gettext_noop("Most tokens of prompt and reply together; lowered to the model's limit."),
    gettext_noop(
        "When a pair is too long, its prompt is cut from the front down to this; 0 means half of the longest pair."
    ),
    gettext_noop("Pairs longer than the limit: cut them, or leave them out. Both are counted in the result."),
    gettext_noop("truncate"),
    gettext_noop("drop"),
    gettext_noop("Memory and speed"),
    gettext_noop("Precision"),
    gettext_noop(
        "Arithmetic of the forward pass; weights stay in fp32. auto: bf16 on a GPU, on a CPU where it is "
        "measured to be faster (AVX-512 BF16, AMX)."
    ),
    gettext_noop("auto"),
    gettext_noop("fp32"),
    gettext_noop("bf16"),
    gettext_noop("Packing"),
    gettext_noop(
        "Puts several conversations into one row without letting them see each other: no padding. Pays on a "
        "GPU with flex attention; on a CPU layout auto does so anyway."
    ),
    gettext_noop("Attention"),
    gettext_noop(
        "flex skips what a token may not see instead of computing and masking it: for packed rows on a GPU. "
        "auto does the same on a CPU. sdpa uses PyTorch's own kernels with a mask."
    ),
    gettext_noop("sdpa"),
    gettext_noop("flex"),
    gettext_noop("Tokens per pass"),
    gettext_noop(
        "A forward pass of more tokens than this, padding included, is done in parts, so that memory does not "
        "grow with the batch. The numbers are the same. 0 means 2,048 on a CPU and 16,384 on a GPU."
    ),
    gettext_noop("Length buckets"),
    gettext_noop("Lets pairs of like length meet in a forward pass, which saves padding."),
    gettext_noop("Rank of LoRA adapters on all linear layers; 0 trains every weight."),
    gettext_noop("Scale of the adapters; usually twice the rank."),
    gettext_noop("Gradient checkpointing"),
    gettext_noop(
        "Recompute activations: less memory, about a fifth slower. auto: only where the longest batch would not fit."
    ),
    gettext_noop("on"),
    gettext_noop("Records"),
    gettext_noop("Steps between two points of the curves."),
    gettext_noop("Steps between two evaluations; 0 evaluates at the start and the end only."),
    gettext_noop("Steps between two checkpoints; 0 saves only when stopped and at the end."),
    gettext_noop("Keep checkpoints"),
    gettext_noop("How many checkpoints are kept."),
    gettext_noop("Tracker"),
    gettext_noop(
        "Where the curves are sent too. TensorBoard's files stay in the run's folder; W&B and MLflow need "
        "their package and address on the worker."
    ),
    gettext_noop("none"),
    gettext_noop("tensorboard"),
    gettext_noop("wandb"),
    gettext_noop("mlflow"),
    gettext_noop("Margin"),
    gettext_noop(
        "By how much the chosen reply has to win: significantly, better, slightly, negligibly = small 1, 2/3, 1/3, 0; "
        "large 3, 2, 1, 0; custom as written below; file takes each pair's own margin. Unsure and ungraded pairs"
        " count as 0. In DPO it becomes an offset (ODPO)."
    ),
    gettext_noop("small"),
    gettext_noop("large"),
    gettext_noop("custom"),
    gettext_noop("The numbers of a custom margin, one for each grade; a grade that is not named counts as 0."),
    gettext_noop("Soft labels"),
    gettext_noop(
        "How sure a label is: always; the share of votes for the chosen reply; that share with one vote added"
        " to each side; or soft_label of the file."
    ),
    gettext_noop("smoothed votes"),
    gettext_noop("Center rewards"),
    gettext_noop("Weight of a term that keeps rewards near zero; 0.01 is usual."),
    gettext_noop("Layout"),
    gettext_noop(
        "How pairs lie in memory. shared computes the prompt once for both replies, plain once for each; auto"
        " shares where the model allows it. The numbers are the same."
    ),
    gettext_noop("shared"),
    gettext_noop("plain"),
    gettext_noop("Beta"),
    gettext_noop(
        "DPO, IPO, KTO: how strongly the policy is held near the reference. ORPO: weight of the odds ratio "
        "term. CPO, SimPO, ARPO: scale of the log-probabilities."
    ),
    gettext_noop(
        "sigmoid is the paper's, smoothed as conservative DPO; robust corrects for a known share of wrong "
        "labels; hinge stops at a gap of one."
    ),
    gettext_noop("sigmoid"),
    gettext_noop("robust"),
    gettext_noop("hinge"),
    gettext_noop("Label smoothing"),
    gettext_noop("Share of judgments assumed to be wrong."),
    gettext_noop("Log-probabilities averaged over the tokens of a reply, as the authors advise, or summed."),
    gettext_noop("mean"),
    gettext_noop("sum"),
    gettext_noop("Desirable weight"),
    gettext_noop("KTO's weight of replies that are wanted."),
    gettext_noop("Undesirable weight"),
    gettext_noop("KTO's weight of replies that are not wanted."),
    gettext_noop("Which tokens the language modelling term of ORPO covers."),
    gettext_noop("prompt and chosen"),
    gettext_noop("chosen"),
    gettext_noop("Weight of the language modelling term on the chosen reply; 0 leaves it out."),
    gettext_noop("SimPO's target margin γ as a share of β: by how much the average log-probabilities have to differ."),
    gettext_noop(
        "How the penalty on the rejected reply adapts: min(c1·exp(c2·gap) − 1, 1) as in the authors' code, or"
        " without c1 as in their paper."
    ),
    gettext_noop("code"),
    gettext_noop("paper"),
    gettext_noop("ARPO's factor c1; the paper's form has none."),
    gettext_noop("ARPO's exponent c2 (η in the paper)."),
)
"""Groups, labels, help texts and choices of the settings, for those that have no better name in forms.py."""

RECIPES = (
    gettext_noop("Llama 2 fine-tuning"),
    gettext_noop("Touvron et al. 2023 (arXiv 2307.09288), section 3.1: learning rate 2e-5, cosine, 64 samples a step."),
    gettext_noop("Llama 2 reward model"),
    gettext_noop(
        "Touvron et al. 2023 (arXiv 2307.09288), sections 2.2 and 3.2.2, Table 27: one epoch, cosine to a tenth, "
        "small margins; 5e-6 for 70 B parameters. A step sees 512 pairs: with fewer than ten thousand, accumulate "
        "less."
    ),
    gettext_noop("DPO paper"),
    gettext_noop(
        "Rafailov et al. 2023 (arXiv 2305.18290), config.yaml and README of their code: β 0.1, 64 pairs a step. The "
        "paper's appendix B says 1e-6. They used RMSprop, this is AdamW."
    ),
    gettext_noop("KTO, as in its code"),
    gettext_noop(
        "Ethayarajh et al. 2024 (arXiv 2402.01306), config.yaml and launch.py of their code HALOs: AdamW, β 0.1, "
        "both weights 1, one epoch."
    ),
    gettext_noop("ORPO paper"),
    gettext_noop(
        "Hong, Lee and Thorne 2024 (arXiv 2403.07691), their script run_mistral_orpo_beta.sh: λ 0.1, 32 pairs a step."
    ),
    gettext_noop("SimPO, Llama 3 Instruct"),
    gettext_noop(
        "Meng, Xia and Chen 2024 (arXiv 2405.14734), README and training_configs of their code: learning rate 1e-6, "
        "128 pairs a step. Their cosine ends at zero, this one at a tenth."
    ),
    gettext_noop("SimPO, Llama 3 base after SFT"),
    gettext_noop(
        "Meng, Xia and Chen 2024 (arXiv 2405.14734), README and training_configs of their code: β 2, γ/β 0.5, 128 "
        "pairs a step. Their cosine ends at zero, this one at a tenth."
    ),
    gettext_noop("CPO paper"),
    gettext_noop(
        "Xu et al. 2024 (arXiv 2401.08417), their script cpo_ft.sh: β 0.1, one epoch, 32 pairs a step. They train "
        "LoRA adapters of rank 16 on down_proj alone, this one on all linear layers."
    ),
    gettext_noop("ARPO, as in its code"),
    gettext_noop(
        "Xu et al. 2024 (X-ALMA, arXiv 2410.03115), cpo_config.py of their code: c1 0.9, c2 0.4. It has no script "
        "for ARPO; the rest is as in their script for CPO."
    ),
    gettext_noop("ARPO, as in its paper"),
    gettext_noop(
        "Xu et al. 2024 (X-ALMA, arXiv 2410.03115), section 4: no factor c1; the rest is as in their script for CPO."
    ),
    gettext_noop("TRL defaults"),
    gettext_noop("Defaults of TRL 1.16.0's trainer of this method."),
    gettext_noop("Defaults of TRL 1.16.0's DPO trainer with the loss ipo."),
    gettext_noop(
        "Defaults of TRL 1.16.0's CPO trainer with the loss simpo: γ 0.5 at β 0.1, and a language modelling term "
        "that the paper does not have."
    ),
)
"""Titles and sources of the recipes."""
