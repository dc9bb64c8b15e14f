"""Every statement of the paper in its order, and where the book answers it.

`STATEMENTS` is the table of coverage on the page of all verdicts. A statement is answered by checks
(see `alfs_utils.paper.verdicts`), or by a sentence that says what it is instead: a definition that
claims nothing, or a claim that is open, and why.
"""

from dataclasses import dataclass

from alfs_utils.paper.verdicts import VERDICTS

__all__ = ["STATEMENTS", "Statement"]


@dataclass(frozen=True)
class Statement:
    """One statement of the paper.

    Attributes
    ----------
    place : str
        Where it stands, such as "Theorem 4" or "Section 2.3".
    says : str
        What it says, in a line; formulas stand between dollar signs, in TeX.
    checks : tuple of str
        The checks that answer it, "module.function".
    note : str
        What is said of it where no check answers; starts with "definition", "drawn" or "open".
    notebook : str
        The chapter of the note.
    """

    place: str
    says: str
    checks: tuple[str, ...] = ()
    note: str = ""
    notebook: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The words of its verdicts, each once; empty if no check answers it."""
        found = (v.verdict for check in self.checks for v in VERDICTS if v.check == check)
        return tuple(dict.fromkeys(found))


STATEMENTS = (
    Statement(
        "Abstract",
        "asymmetric losses are robust to various types of noise",
        ("tolerance.theorem_4", "tolerance.any_noise_model"),
    ),
    Statement(
        "Abstract, Conclusion",
        "they can outperform state-of-the-art methods",
        note="open where runs are missing: the ranking sentences of Section 4.2",
        notebook="17-verdict",
    ),
    Statement(
        "Introduction",
        "networks with many parameters fit random labels (Zhang et al.)",
        note="drawn: chapter 10 counts the wrong labels that a network repeats",
        notebook="10-robustness",
    ),
    Statement(
        "Introduction",
        "symmetric losses are robust to symmetric noise",
        ("symmetric.ghosh_symmetric_noise",),
    ),
    Statement(
        "Introduction",
        "unhinged is a scaled MAE, the only convex loss that is strongly robust",
        ("earlier.only_convex",),
    ),
    Statement(
        "Introduction",
        "MAE treats every sample equally and trains longer",
        ("earlier.mae_weights",),
    ),
    Statement("Introduction", "GCE encompasses MAE and CE", ("earlier.gce_and_agce",)),
    Statement("Introduction", "SCE combines CE with RCE", ("earlier.sce_and_rce",)),
    Statement(
        "Introduction", "normalisation makes any loss robust", ("symmetric.normalised_losses",)
    ),
    Statement(
        "Introduction", "normalised losses do not train accurate networks", ("earlier.nce_alone",)
    ),
    Statement(
        "Introduction",
        "normalised losses are prone to gradient explosion",
        ("earlier.nce_gradient",),
    ),
    Statement(
        "Introduction, Section 2.3",
        "the symmetric condition is too stringent to find a convex loss",
        ("asymmetric.symmetric_and_convex",),
    ),
    Statement(
        "Introduction, Section 2.3",
        "symmetric losses usually underfit",
        note="open: names no measure; the rows on MAE and on NCE have what can be checked",
        notebook="05-symmetric-and-sums",
    ),
    Statement(
        "Equation (1)",
        r"the L-risk; $h = \arg\max f$, predictions in the simplex",
        note="definition: used from chapter 2 on",
        notebook="06-noise-tolerance",
    ),
    Statement(
        "Section 2.1",
        r"$\arg\min L(\mathbf{u}, y) = \mathbf{e}_y$, $L$ decreases in $u_y$",
        ("symmetric.nce_infimum", "symmetric.theorem_3", "tolerance.assumption_2"),
    ),
    Statement(
        "Equation (2)", "the label noise model", note="definition", notebook="01-label-noise"
    ),
    Statement("Section 2.2", "symmetric and asymmetric noise", ("domination.noise_definitions",)),
    Statement(
        "Section 2.2",
        "instance-dependent noise is not much investigated",
        note="definition, and history: each x has its own weights in every theorem here",
        notebook="06-noise-tolerance",
    ),
    Statement(
        "Section 2.2",
        "the risk under noise; noise-tolerant",
        note="definition",
        notebook="06-noise-tolerance",
    ),
    Statement(
        "Section 2.2", "noisy labels degrade generalisation", ("earlier.noisy_labels_degrade",)
    ),
    Statement(
        "Equation (3)",
        "symmetric losses; MAE sums to $2k - 2$",
        ("symmetric.ghosh_symmetric_noise",),
    ),
    Statement(
        "Section 2.3",
        "symmetric losses tolerate symmetric noise (Ghosh et al.)",
        ("symmetric.ghosh_symmetric_noise",),
    ),
    Statement(
        "Section 2.3",
        "and asymmetric noise, if $R(f^*) = 0$ (Ghosh et al.)",
        ("symmetric.ghosh_quotation",),
    ),
    Statement("Section 2.3", "RCE is symmetric, a variant of MAE", ("earlier.sce_and_rce",)),
    Statement(
        "Section 2.3",
        "the asymmetric family includes the symmetric losses",
        ("symmetric.theorem_3",),
    ),
    Statement("Section 2.3", "and many convex losses", ("asymmetric.convex_and_complete",)),
    Statement("Section 2.3", "which facilitate the optimisation", ("asymmetric.convex_in_logits",)),
    Statement("Definition 1", "class-wise clean-labels-domination", ("domination.definition_1",)),
    Statement("Equation (4)", "the same, in counts", ("domination.definition_1",)),
    Statement("Section 3.1", "8.0 to 38.5 % of noise corroborate it", ("domination.average_rate",)),
    Statement(
        "Assumption 1",
        r"clean labels dominate; more restrictive than $1 - \eta > 1/k$",
        ("domination.assumption_1",),
    ),
    Statement(
        "Section 3.1",
        "what learns on non-dominant cases fails on dominant ones",
        ("tolerance.two_worlds",),
    ),
    Statement(
        "Section 3.2", "the conditional L-risk", note="definition", notebook="02-asymmetric-losses"
    ),
    Statement(
        "Definition 2", "asymmetric, on a noise model, completely", ("asymmetric.one_inequality",)
    ),
    Statement("Equation (5)", "the same, in a formula", ("asymmetric.one_inequality",)),
    Statement("Definition 2", "strictly asymmetric", ("asymmetric.strict_asymmetry",)),
    Statement(
        "Section 3.2",
        "the largest takes all: mis-classification as without noise, noisy labels' contribution "
        "eliminated",
        ("tolerance.theorem_4",),
    ),
    Statement(
        "Section 3.2",
        "the Bayes-optimal prediction is that of the 0-1 loss",
        ("excess_risk.minimal_risk_minimal_error",),
    ),
    Statement(
        "Section 3.3",
        r"the noisy risk is smallest at $\mathbf{e}_y$ only",
        ("tolerance.theorem_4",),
    ),
    Statement(
        "Theorem 1",
        "completely asymmetric losses are classification-calibrated",
        ("calibration.theorem_1",),
    ),
    Statement(
        "After Theorem 1",
        "the minimiser is that of Bayes",
        ("excess_risk.minimal_risk_minimal_error",),
    ),
    Statement("Figure 1", "$H^-$ lies above $H$", ("calibration.calibration_functions",)),
    Statement(
        "Theorem 2",
        "the excess risk bound",
        ("excess_risk.theorem_2", "excess_risk.excess_risk_multiclass"),
    ),
    Statement(
        "Equation (6)", "the same", ("excess_risk.theorem_2", "excess_risk.excess_risk_multiclass")
    ),
    Statement(
        "After Theorem 2", r"controlled only by $\ell(0) - \ell(1)$", ("excess_risk.theorem_2",)
    ),
    Statement(
        "After Theorem 2",
        "minimal surrogate risk, minimal error",
        ("excess_risk.minimal_risk_minimal_error",),
    ),
    Statement("Theorem 3", "symmetric losses are completely asymmetric", ("symmetric.theorem_3",)),
    Statement(
        "After Theorem 3",
        "$R(f^*) = 0$ is an important condition; deep networks have the fitting ability",
        ("symmetric.ghosh_quotation", "tolerance.assumption_2"),
    ),
    Statement(
        "Assumption 2",
        "a hypothesis minimises the loss everywhere; universal classes contain it",
        ("tolerance.assumption_2",),
    ),
    Statement(
        "Theorem 4",
        "asymmetric on the noise model implies noise-tolerant",
        ("tolerance.theorem_4",),
    ),
    Statement(
        "After Theorem 4", "without knowing the exact noise rates", ("tolerance.rates_not_needed",)
    ),
    Statement(
        "After Theorem 4",
        "does not depend on the data distribution",
        ("tolerance.data_distribution",),
    ),
    Statement(
        "After Theorem 4",
        "completely asymmetric: robust to any label noise model",
        ("tolerance.any_noise_model",),
    ),
    Statement(
        "Section 3.3",
        "asymmetric losses are suitable for the active-passive framework",
        ("symmetric.nce_plus_alf",),
    ),
    Statement(
        "Section 3.3",
        "in this framework their performance is better or at least comparable",
        note="open: names no measure; the sentences on NCE+ALF are read one by one",
        notebook="17-verdict",
    ),
    Statement(
        "Theorem 5",
        "positive combinations of asymmetric losses are asymmetric",
        ("symmetric.theorem_5",),
    ),
    Statement("Definition 3", "the asymmetry ratio; its values", ("ratio.definition_3_values",)),
    Statement("Equation (7)", "the same", ("ratio.definition_3_values",)),
    Statement("Theorem 6", r"$\rho r \ge 1$ is sufficient", ("ratio.theorem_6",)),
    Statement("After Theorem 6", r"completely asymmetric if $r \ge 1$", ("ratio.remark_complete",)),
    Statement(
        "After Theorem 6",
        r"$r \ge 1/1.5$ handles all synthetic noises",
        ("ratio.remark_clean_level",),
    ),
    Statement(
        "After Theorem 6",
        "a real-world clean level is usually higher",
        note="open: the paper names no data; so it is for five of six sets of human labels, "
        "against the hardest synthetic noise, $c = 3/2$",
        notebook="15-real-world-noise",
    ),
    Statement(
        "After Theorem 6",
        r"larger $c \cdot r$ gives more noise tolerance",
        note="open: runs of Figure 3 are missing",
        notebook="10-robustness",
    ),
    Statement(
        "After Theorem 6",
        "at least a positive weighted optimization",
        ("weighting.gradient_identity",),
    ),
    Statement(
        "Theorem 7",
        "$f^*$ minimises a positively weighted clean risk",
        ("weighting.theorem_7", "weighting.theorem_7_readings", "weighting.pareto"),
    ),
    Statement("Equation (8)", r"$r \le r_u$", ("ratio.equation_8",)),
    Statement(
        "After equation (8)",
        r"completely asymmetric losses have $r_u \ge 1$",
        ("ratio.remark_complete",),
    ),
    Statement("Theorem 8", r"$\rho r_u \ge 1$ is necessary", ("ratio.theorem_8",)),
    Statement(
        "After Theorem 8",
        "if $r = r_u$, necessary and sufficient",
        ("ratio.when_the_ratios_agree",),
    ),
    Statement("Corollary 1", "AGCE", ("corollaries.corollary_1",)),
    Statement(
        "After Corollary 1",
        "a negative shifted Box–Cox transformation; GCE at $a = 0$; CE and MAE as limits",
        ("earlier.gce_and_agce",),
    ),
    Statement("After Corollary 1", "$r$ and $r_u$ of AGCE are equal", ("ratio.equal_ratios",)),
    Statement(
        "After Corollary 1",
        r"complete for $q \ge 1$; GCE is not asymmetric",
        ("corollaries.remarks_on_completeness",),
    ),
    Statement("Corollary 2", "AUL", ("corollaries.corollary_2",)),
    Statement(
        "After Corollary 2",
        "derived from unhinged, $a = 1$ and $p = 1$",
        ("earlier.only_convex", "corollaries.corollary_2"),
    ),
    Statement(
        "After Corollary 2",
        r"$r$ and $r_u$ of AUL are equal; complete for $p \le 1$",
        ("ratio.equal_ratios", "corollaries.remarks_on_completeness"),
    ),
    Statement(
        "Corollary 3",
        "AEL, not completely asymmetric",
        ("corollaries.corollary_3", "corollaries.remarks_on_completeness"),
    ),
    Statement(
        "Figure 4",
        "curves of AGCE, AUL and AEL",
        note="drawn, with parameters of ours: those of the figure are not in the text",
        notebook="02-asymmetric-losses",
    ),
    Statement(
        "Section 4.1", "Figure 1 validates Theorem 1", ("calibration.calibration_functions",)
    ),
    Statement(
        "Figure 2",
        "$p_m$ is 1 above the threshold, an obvious gap below",
        ("corollaries.figure_2_gap",),
    ),
    Statement(
        "Figure 2",
        "more and more asymmetric as $a$ or $r$ gets bigger",
        ("corollaries.figure_2_growth",),
    ),
    Statement(
        "Section 4.1",
        r"$c = 9/4$, $a \ge 16/65$, $9/5$, $1/\ln(9/4)$",
        ("corollaries.numeric_remarks",),
    ),
    Statement("Section 4.1", "asymmetry ratio smaller than 16/65", ("corollaries.sixteen_65ths",)),
    Statement(
        "Section 4.1", r"as $a$ or $r$ increases, $c \cdot r$ grows", ("corollaries.remark_growth",)
    ),
    Statement(
        "Figure 3",
        "which curves remain robust, which overfit",
        note="open: runs are missing",
        notebook="10-robustness",
    ),
    Statement(
        "Section 4.1",
        "more robust, but less fitting ability; the tuning advice",
        note="open: runs are missing",
        notebook="10-robustness",
    ),
    Statement(
        "Table 1",
        "symmetric noise, and the ranking sentences",
        note="open where runs are missing",
        notebook="12-cifar10",
    ),
    Statement(
        "Table 2",
        "asymmetric noise, and the ranking sentences",
        note="open where runs are missing",
        notebook="12-cifar10",
    ),
    Statement(
        "Section 4.2",
        "asymmetric losses can be robust enough",
        note="open: says no measure; its sentences on the tables are read one by one",
        notebook="17-verdict",
    ),
    Statement(
        "Figure 5",
        "GCE's embeddings mix, AGCE's separate",
        note="open where runs are missing",
        notebook="14-features",
    ),
    Statement(
        "Table 3",
        "WebVision: AGCE and NCE+AGCE outperform GCE, SCE, NCE+RCE",
        note="open: no runs; its own numbers say so",
        notebook="15-real-world-noise",
    ),
    Statement(
        "Conclusion",
        "noise-tolerant as long as clean labels dominate",
        ("tolerance.assumption_2_cannot_be_dropped",),
    ),
    Statement(
        "Conclusion",
        "a larger ratio gives better robustness",
        note="open: runs of Figure 3 are missing",
        notebook="10-robustness",
    ),
    Statement(
        "Conclusion",
        "a global clean weighted risk, for any hypothesis class",
        ("weighting.theorem_7",),
    ),
)
