"""Public functions of SciPy, scikit-learn, array-api-extra and einops that are differentiable, each with arguments.

Each is called with a matrix `x` of numbers between 0.2 and 1, at which its derivative is not zero, and with `c`, which
brings constants to the namespace of `x`. The result is an array, or a list of arrays or numbers. A function is here
under its public name; what has several methods (distributions, rotations, estimators) has a line for each.

SciPy reads the switch for its array API support when it is imported, so this file is imported by processes that
have set it (`SCIPY_ARRAY_API=1`) alone; see `measure.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import array_api_extra as xpx
import einops
import numpy as np
import sklearn
from scipy import (
    constants,
    differentiate,
    fft,
    integrate,
    interpolate,
    linalg,
    ndimage,
    optimize,
    signal,
    special,
    stats,
)
from scipy.cluster import hierarchy, vq
from scipy.optimize import elementwise
from scipy.spatial import distance
from scipy.spatial.transform import RigidTransform, Rotation, Slerp
from sklearn import (
    calibration,
    covariance,
    decomposition,
    discriminant_analysis,
    kernel_approximation,
    linear_model,
    metrics,
    mixture,
    naive_bayes,
    preprocessing,
)
from sklearn.metrics import pairwise
from sklearn.utils import extmath

__all__ = ["FUNCTIONS", "X"]

Function = Callable[[Any, Callable[[Any], Any]], Any]

X = np.random.default_rng(0).uniform(0.2, 1.0, (5, 3))
Y = np.random.default_rng(1).uniform(0.2, 1.0, (5, 3))
SIGNAL = np.cos(np.arange(32.0) * 1.3) + 0.1 * np.arange(32.0)
LABELS = np.asarray([0, 1, 0, 1, 1])
CLASSES = np.asarray([0, 1, 2, 1, 0])
WEIGHTS = np.asarray([1.0, 0.5, 2.0, 1.5, 0.75])
MANY = np.random.default_rng(2).uniform(0.2, 1.0, (40, 3))


def _many(x: Any, c: Any) -> Any:
    """Return forty rows that all depend on `x`."""
    return c(MANY) + c(np.cos(np.arange(200.0)).reshape(40, 5)) @ x / 5


def _probabilities(x: Any) -> Any:
    return x / (x[:, 0] + x[:, 1] + x[:, 2])[:, None]


SPECIAL: dict[str, Function] = {
    "bdtr": lambda x, c: special.bdtr(c(np.full((5, 3), 2.0)), c(np.full((5, 3), 5)), x * 0.9),
    "bdtrc": lambda x, c: special.bdtrc(c(np.full((5, 3), 2.0)), c(np.full((5, 3), 5)), x * 0.9),
    "bdtri": lambda x, c: special.bdtri(c(np.full((5, 3), 2.0)), c(np.full((5, 3), 5)), x * 0.9),
    "betainc": lambda x, c: special.betainc(c(Y), c(Y + 1), x * 0.9),
    "betaincc": lambda x, c: special.betaincc(c(Y), c(Y + 1), x * 0.9),
    "betaincinv": lambda x, c: special.betaincinv(c(Y), c(Y + 1), x * 0.9),
    "betaln": lambda x, c: special.betaln(x, c(Y)),
    "binom": lambda x, c: special.binom(x + 3, c(Y)),
    "boxcox": lambda x, c: special.boxcox(x, c(Y)),
    "boxcox1p": lambda x, c: special.boxcox1p(x, c(Y)),
    "cbrt": lambda x, c: special.cbrt(x),
    "chdtr": lambda x, c: special.chdtr(c(Y), x),
    "chdtrc": lambda x, c: special.chdtrc(c(Y), x),
    "chdtri": lambda x, c: special.chdtri(c(Y), x * 0.9),
    "cosdg": lambda x, c: special.cosdg(100 * x),
    "cosm1": lambda x, c: special.cosm1(x),
    "cotdg": lambda x, c: special.cotdg(50 * x),
    "digamma": lambda x, c: special.digamma(x),
    "ellipk": lambda x, c: special.ellipk(x * 0.9),
    "ellipkm1": lambda x, c: special.ellipkm1(x),
    "entr": lambda x, c: special.entr(x),
    "erf": lambda x, c: special.erf(x),
    "erfc": lambda x, c: special.erfc(x),
    "erfcx": lambda x, c: special.erfcx(x),
    "erfinv": lambda x, c: special.erfinv(x * 0.9),
    "exp1": lambda x, c: special.exp1(x),
    "exp10": lambda x, c: special.exp10(x),
    "exp2": lambda x, c: special.exp2(x),
    "expi": lambda x, c: special.expi(x),
    "expit": lambda x, c: special.expit(x),
    "expn": lambda x, c: special.expn(c(np.full((5, 3), 2)), x),
    "exprel": lambda x, c: special.exprel(x),
    "fdtr": lambda x, c: special.fdtr(c(Y), c(Y + 1), x),
    "fdtrc": lambda x, c: special.fdtrc(c(Y), c(Y + 1), x),
    "fdtri": lambda x, c: special.fdtri(c(Y + 1), c(Y + 2), x * 0.9),
    "gamma": lambda x, c: special.gamma(x),
    "gammainc": lambda x, c: special.gammainc(c(Y), x),
    "gammaincc": lambda x, c: special.gammaincc(c(Y), x),
    "gammainccinv": lambda x, c: special.gammainccinv(c(Y), x * 0.9),
    "gammaincinv": lambda x, c: special.gammaincinv(c(Y), x * 0.9),
    "gammaln": lambda x, c: special.gammaln(x),
    "gdtr": lambda x, c: special.gdtr(c(Y), c(Y + 1), x),
    "gdtrc": lambda x, c: special.gdtrc(c(Y), c(Y + 1), x),
    "huber": lambda x, c: special.huber(c(Y), x),
    "hyp1f1": lambda x, c: special.hyp1f1(c(Y), c(Y + 1), x),
    "i0": lambda x, c: special.i0(x),
    "i0e": lambda x, c: special.i0e(x),
    "i1": lambda x, c: special.i1(x),
    "i1e": lambda x, c: special.i1e(x),
    "inv_boxcox": lambda x, c: special.inv_boxcox(x, c(Y)),
    "inv_boxcox1p": lambda x, c: special.inv_boxcox1p(x, c(Y)),
    "j0": lambda x, c: special.j0(x),
    "j1": lambda x, c: special.j1(x),
    "k0": lambda x, c: special.k0(x),
    "k0e": lambda x, c: special.k0e(x),
    "k1": lambda x, c: special.k1(x),
    "k1e": lambda x, c: special.k1e(x),
    "kl_div": lambda x, c: special.kl_div(x, c(Y)),
    "log_ndtr": lambda x, c: special.log_ndtr(x),
    "log_softmax": lambda x, c: special.log_softmax(x, axis=1),
    "loggamma": lambda x, c: special.loggamma(x),
    "logit": lambda x, c: special.logit(x * 0.9),
    "logsumexp": lambda x, c: special.logsumexp(x, axis=0, b=c(Y)),
    "lpmv": lambda x, c: special.lpmv(c(np.full((5, 3), 1)), c(np.full((5, 3), 2.0)), x * 0.9),
    "multigammaln": lambda x, c: special.multigammaln(x + 2, 2),
    "nbdtr": lambda x, c: special.nbdtr(c(np.full((5, 3), 2)), c(np.full((5, 3), 3)), x * 0.9),
    "nbdtrc": lambda x, c: special.nbdtrc(c(np.full((5, 3), 2)), c(np.full((5, 3), 3)), x * 0.9),
    "nbdtri": lambda x, c: special.nbdtri(c(np.full((5, 3), 2)), c(np.full((5, 3), 3)), x * 0.9),
    "ndtr": lambda x, c: special.ndtr(x),
    "ndtri": lambda x, c: special.ndtri(x * 0.9),
    "pdtr": lambda x, c: special.pdtr(c(np.full((5, 3), 2.0)), x),
    "pdtrc": lambda x, c: special.pdtrc(c(np.full((5, 3), 2.0)), x),
    "pdtri": lambda x, c: special.pdtri(c(np.full((5, 3), 2)), x * 0.9),
    "poch": lambda x, c: special.poch(x, c(Y)),
    "polygamma": lambda x, c: special.polygamma(c(np.asarray(2)), x),
    "pseudo_huber": lambda x, c: special.pseudo_huber(c(Y), x),
    "psi": lambda x, c: special.psi(x),
    "radian": lambda x, c: special.radian(x, c(Y), c(Y)),
    "rel_entr": lambda x, c: special.rel_entr(x, c(Y)),
    "rgamma": lambda x, c: special.rgamma(x),
    "sinc": lambda x, c: special.sinc(x),
    "sindg": lambda x, c: special.sindg(100 * x),
    "softmax": lambda x, c: special.softmax(x, axis=1),
    "spence": lambda x, c: special.spence(x),
    "stdtr": lambda x, c: special.stdtr(c(Y + 1), x),
    "stdtrit": lambda x, c: special.stdtrit(c(Y + 1), x * 0.9),
    "tandg": lambda x, c: special.tandg(50 * x),
    "xlog1py": lambda x, c: special.xlog1py(c(Y), x),
    "xlogy": lambda x, c: special.xlogy(x, c(Y)),
    "y0": lambda x, c: special.y0(x),
    "y1": lambda x, c: special.y1(x),
    "yn": lambda x, c: special.yn(c(np.full((5, 3), 2)), x),
    "zeta": lambda x, c: special.zeta(x + 1, c(Y)),
    "zetac": lambda x, c: special.zetac(x + 1.5),
}

STATS: dict[str, Function] = {
    "alexandergovern": lambda x, c: list(_pair(stats.alexandergovern(x[:, 0], x[:, 1], x[:, 2]))),
    "bartlett": lambda x, c: list(stats.bartlett(x[:, 0], x[:, 1], x[:, 2])),
    "bootstrap": lambda x, c: (
        stats.bootstrap(
            (x[:, 0],), lambda a, axis: (a**2).mean(axis=axis), n_resamples=9, rng=0, method="basic"
        ).standard_error
    ),
    "boxcox_llf": lambda x, c: stats.boxcox_llf(0.5, x),
    "chisquare": lambda x, c: list(stats.chisquare(x)),
    "circmean": lambda x, c: stats.circmean(x, axis=0),
    "circstd": lambda x, c: stats.circstd(x, axis=0),
    "circvar": lambda x, c: stats.circvar(x, axis=0),
    "combine_pvalues": lambda x, c: list(stats.combine_pvalues(x * 0.9)),
    "combine_pvalues (stouffer)": lambda x, c: list(stats.combine_pvalues(x * 0.9, "stouffer", weights=c(Y))),
    "cramervonmises": lambda x, c: _pair(stats.cramervonmises(x[:, 0], special.ndtr)),
    "describe": lambda x, c: list(stats.describe(x))[2:],
    "differential_entropy": lambda x, c: stats.differential_entropy(x, axis=0),
    "directional_stats": lambda x, c: [
        stats.directional_stats(x).mean_direction,
        stats.directional_stats(x).mean_resultant_length,
    ],
    "entropy": lambda x, c: stats.entropy(x, c(Y)),
    "epps_singleton_2samp": lambda x, c: list(_pair(stats.epps_singleton_2samp(x[:, 0], c(Y[:, 0])))),
    "f_oneway": lambda x, c: list(stats.f_oneway(x[:, 0], x[:, 1], x[:, 2])),
    "false_discovery_control": lambda x, c: stats.false_discovery_control(x * 0.9, axis=0),
    "gmean": lambda x, c: stats.gmean(x, axis=0, weights=c(Y)),
    "gstd": lambda x, c: stats.gstd(x, axis=0),
    "gzscore": lambda x, c: stats.gzscore(x),
    "hmean": lambda x, c: stats.hmean(x, axis=0),
    "iqr": lambda x, c: stats.iqr(x, axis=0),
    "jarque_bera": lambda x, c: list(stats.jarque_bera(x, axis=0)),
    "ks_1samp": lambda x, c: stats.ks_1samp(x[:, 0], special.ndtr).statistic,
    "kstat": lambda x, c: stats.kstat(x, 3, axis=0),
    "kstatvar": lambda x, c: stats.kstatvar(x, axis=0),
    "kurtosis": lambda x, c: stats.kurtosis(x, axis=0, bias=False),
    "kurtosistest": lambda x, c: list(stats.kurtosistest(_many(x, c), axis=0)),
    "levene": lambda x, c: list(stats.levene(x[:, 0], x[:, 1], x[:, 2])),
    "lmoment": lambda x, c: stats.lmoment(x, axis=0),
    "median_abs_deviation": lambda x, c: stats.median_abs_deviation(x, axis=0),
    "mode": lambda x, c: stats.mode(x, axis=0).mode,
    "moment": lambda x, c: stats.moment(x, 3, axis=0),
    "monte_carlo_test": lambda x, c: (
        stats.monte_carlo_test(
            x[:, 0],
            lambda size: c(np.random.default_rng(0).uniform(size=size)),
            lambda a, axis: a.mean(axis=axis),
            n_resamples=9,
        ).statistic
    ),
    "normaltest": lambda x, c: list(stats.normaltest(_many(x, c), axis=0)),
    "pearsonr": lambda x, c: list(_pair(stats.pearsonr(x[:, 0], c(Y[:, 0])))),
    "permutation_test": lambda x, c: (
        stats.permutation_test(
            (x[:, 0], c(Y[:, 0])), lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis), n_resamples=9, rng=0
        ).statistic
    ),
    "pmean": lambda x, c: stats.pmean(x, 2.0, axis=0),
    "power_divergence": lambda x, c: list(stats.power_divergence(x, lambda_="cressie-read")),
    "quantile": lambda x, c: stats.quantile(x, 0.3, axis=0),
    "sem": lambda x, c: stats.sem(x, axis=0),
    "sigmaclip": lambda x, c: list(stats.sigmaclip(_many(x, c), 1.5, 1.5)),
    "skew": lambda x, c: stats.skew(x, axis=0, bias=False),
    "skewtest": lambda x, c: list(stats.skewtest(_many(x, c), axis=0)),
    "tmax": lambda x, c: stats.tmax(x, 0.9, axis=0),
    "tmean": lambda x, c: stats.tmean(x, (0.3, 0.9), axis=0),
    "tmin": lambda x, c: stats.tmin(x, 0.3, axis=0),
    "trim_mean": lambda x, c: stats.trim_mean(x, 0.2, axis=0),
    "tsem": lambda x, c: stats.tsem(x, (0.25, 1.0), axis=0),
    "tstd": lambda x, c: stats.tstd(x, (0.25, 1.0), axis=0),
    "ttest_1samp": lambda x, c: list(_pair(stats.ttest_1samp(x, 0.5))),
    "ttest_ind": lambda x, c: list(_pair(stats.ttest_ind(x, c(Y)))),
    "ttest_ind_from_stats": lambda x, c: list(stats.ttest_ind_from_stats(x, c(Y), 5, c(Y), c(Y + 1), 6)),
    "ttest_rel": lambda x, c: list(_pair(stats.ttest_rel(x, c(Y)))),
    "tvar": lambda x, c: stats.tvar(x, (0.25, 1.0), axis=0),
    "variation": lambda x, c: stats.variation(x, axis=0),
    "yeojohnson_llf": lambda x, c: stats.yeojohnson_llf(0.5, x),
    "zmap": lambda x, c: stats.zmap(x * x, x),
    "zscore": lambda x, c: stats.zscore(x),
    "boxcox": lambda x, c: stats.boxcox(x[:, 0], 0.5),
    "yeojohnson": lambda x, c: stats.yeojohnson(x[:, 0], 0.5),
    "linregress": lambda x, c: stats.linregress(c(Y[:, 0]), x[:, 0]).slope,
    "theilslopes": lambda x, c: stats.theilslopes(x[:, 0], c(Y[:, 0])).slope,
    "wasserstein_distance": lambda x, c: stats.wasserstein_distance(x[:, 0], c(Y[:, 0])),
    "energy_distance": lambda x, c: stats.energy_distance(x[:, 0], c(Y[:, 0])),
    "expectile": lambda x, c: stats.expectile(x[:, 0]),
    "trim1": lambda x, c: stats.trim1(x[:, 0], 0.2),
    "trimboth": lambda x, c: stats.trimboth(x, 0.2),
    "obrientransform": lambda x, c: list(stats.obrientransform(x[:, 0], x[:, 1])),
    "mvsdist": lambda x, c: stats.mvsdist(x[:, 0])[0].mean(),
    "gaussian_kde": lambda x, c: stats.gaussian_kde(x[:, 0])(c(Y[:, 0])),
    "multivariate_normal.logpdf": lambda x, c: stats.multivariate_normal.logpdf(x, mean=np.zeros(3)),
    "Covariance.from_cholesky": lambda x, c: stats.Covariance.from_cholesky(x[:3, :]).log_pdet,
}


def _pair(result: Any) -> tuple[Any, Any]:
    return result.statistic, result.pvalue


METHODS = ("pdf", "logpdf", "cdf", "logcdf", "ccdf", "logccdf", "icdf", "ilogcdf", "iccdf", "ilogccdf")


def _method(distribution: Callable[[Any, Any], Any], name: str) -> Function:
    if name.startswith("ilog"):
        return lambda x, c: getattr(distribution(x, c), name)(c(-Y))
    if name.startswith("i"):
        return lambda x, c: getattr(distribution(x, c), name)(c(0.9 * Y))
    return lambda x, c: getattr(distribution(x, c), name)(c(Y * 0.9))


GAMMA = stats.make_distribution(stats.gamma)

DISTRIBUTIONS: dict[str, Function] = {
    **{f"Normal.{name}": _method(lambda x, c: stats.Normal(mu=x, sigma=x + 1), name) for name in METHODS},
    "Normal.mean": lambda x, c: stats.Normal(mu=x, sigma=x + 1).mean(),
    "Normal.variance": lambda x, c: stats.Normal(mu=x, sigma=x + 1).variance(),
    "Normal.standard_deviation": lambda x, c: stats.Normal(mu=x, sigma=x + 1).standard_deviation(),
    "Normal.entropy": lambda x, c: stats.Normal(mu=x, sigma=x + 1).entropy(),
    "Normal.moment": lambda x, c: stats.Normal(mu=x, sigma=x + 1).moment(3, "raw"),
    **{
        f"Uniform.{name}": _method(lambda x, c: stats.Uniform(a=-x, b=x + 2), name)
        for name in ("pdf", "logpdf", "cdf", "icdf")
    },
    **{
        f"Logistic.{name}": _method(lambda x, c: x * stats.Logistic() + x, name)
        for name in ("pdf", "logpdf", "cdf", "icdf")
    },
    "Mixture.logpdf": lambda x, c: stats.Mixture([stats.Normal(mu=x[0, 0]), stats.Normal(mu=x[0, 1])]).logpdf(c(Y)),
    "make_distribution(gamma).logpdf": lambda x, c: GAMMA(a=x + 1).logpdf(c(Y)),
    "Normal.logpdf (the point)": lambda x, c: stats.Normal().logpdf(x),
    "norm.pdf": lambda x, c: stats.norm.pdf(x),
    "norm.logpdf": lambda x, c: stats.norm.logpdf(x, 0.5, 2.0),
    "norm.cdf": lambda x, c: stats.norm.cdf(x),
    "norm.ppf": lambda x, c: stats.norm.ppf(x * 0.9),
    "gamma.logpdf": lambda x, c: stats.gamma.logpdf(x, 2.0),
    "beta.logpdf": lambda x, c: stats.beta.logpdf(x * 0.9, 2.0, 3.0),
    "t.logpdf": lambda x, c: stats.t.logpdf(x, 4.0),
    "expon.sf": lambda x, c: stats.expon.sf(x),
}

A = [1.0, -0.5, 0.2]
B = [0.5, 0.3, 0.1]


def _wave(x: Any, c: Any) -> Any:
    """Return a signal of 32 numbers that depends on `x`."""
    return c(SIGNAL) * x[0, 0] + c(np.sin(np.arange(32.0))) * x[1, 1] + c(np.arange(32.0) ** 2 / 500) * x[2, 2] ** 2


SIGNALS: dict[str, Function] = {
    "abcd_normalize": lambda x, c: list(signal.abcd_normalize(x[:3, :], x[:3, :1], x[:1, :], x[:1, :1])),
    "bilinear": lambda x, c: list(signal.bilinear(x[0, :], x[1, :] + 1, 2.0)),
    "bilinear_zpk": lambda x, c: list(signal.bilinear_zpk(x[0, :2] + 0j, x[1, :] + 2 + 0j, 1.5, 2.0)),
    "convolve": lambda x, c: signal.convolve(x[:, 0], c(Y[:, 0])),
    "convolve (direct)": lambda x, c: signal.convolve(x, c(Y[:2, :2]), method="direct"),
    "convolve2d": lambda x, c: signal.convolve2d(x, c(Y)),
    "correlate": lambda x, c: signal.correlate(x[:, 0], c(Y[:, 0])),
    "correlate2d": lambda x, c: signal.correlate2d(x, c(Y)),
    "cspline1d": lambda x, c: signal.cspline1d(x[:, 0]),
    "decimate": lambda x, c: signal.decimate(_wave(x, c), 2),
    "deconvolve": lambda x, c: list(signal.deconvolve(_wave(x, c), c(np.asarray(B)))),
    "detrend": lambda x, c: signal.detrend(x, axis=0),
    "detrend (constant)": lambda x, c: signal.detrend(x, axis=0, type="constant"),
    "envelope": lambda x, c: signal.envelope(_wave(x, c)),
    "fftconvolve": lambda x, c: signal.fftconvolve(x, c(Y), axes=0),
    "filtfilt": lambda x, c: signal.filtfilt(c(np.asarray(B)), c(np.asarray(A)), _wave(x, c)),
    "firwin": lambda x, c: signal.firwin(5, x[0, 0] * 0.5),
    "freqs": lambda x, c: list(signal.freqs(x[0, :], x[1, :], worN=c(np.asarray([0.5, 1.0]))))[1],
    "freqs_zpk": lambda x, c: list(signal.freqs_zpk(x[0, :], x[1, :], 1.0, worN=c(np.asarray([0.5, 1.0]))))[1],
    "freqz": lambda x, c: list(signal.freqz(x[0, :], x[1, :] + 1, worN=c(np.asarray([0.5, 1.0]))))[1],
    "freqz (grid)": lambda x, c: list(signal.freqz(x[0, :], worN=8))[1],
    "freqz_sos": lambda x, c: list(signal.freqz_sos(_sos(x, c), worN=c(np.asarray([0.5, 1.0]))))[1],
    "freqz_zpk": lambda x, c: list(signal.freqz_zpk(x[0, :], x[1, :], 1.0, worN=c(np.asarray([0.5, 1.0]))))[1],
    "gauss_spline": lambda x, c: signal.gauss_spline(x, 3),
    "group_delay": lambda x, c: list(signal.group_delay((x[0, :], x[1, :] + 2), w=c(np.asarray([0.5, 1.0]))))[1],
    "hilbert": lambda x, c: signal.hilbert(_wave(x, c)),
    "hilbert2": lambda x, c: signal.hilbert2(x),
    "lfilter": lambda x, c: signal.lfilter(c(np.asarray(B)), c(np.asarray(A)), _wave(x, c)),
    "lfilter_zi": lambda x, c: signal.lfilter_zi(x[0, :], x[1, :] + 1),
    "lfiltic": lambda x, c: signal.lfiltic(c(np.asarray(B)), c(np.asarray(A)), x[0, :], x[1, :]),
    "lp2bp": lambda x, c: list(signal.lp2bp(x[0, :], x[1, :], 1.5, 0.5)),
    "lp2bp_zpk": lambda x, c: list(signal.lp2bp_zpk(x[0, :2] + 0j, x[1, :] + 0j, 1.0, 1.5, 0.5)),
    "lp2bs": lambda x, c: list(signal.lp2bs(x[0, :], x[1, :], 1.5, 0.5)),
    "lp2bs_zpk": lambda x, c: list(signal.lp2bs_zpk(x[0, :2] + 0j, x[1, :] + 0j, 1.0, 1.5, 0.5)),
    "lp2hp": lambda x, c: list(signal.lp2hp(x[0, :], x[1, :], 1.5)),
    "lp2hp_zpk": lambda x, c: list(signal.lp2hp_zpk(x[0, :2] + 0j, x[1, :] + 0j, 1.0, 1.5)),
    "lp2lp": lambda x, c: list(signal.lp2lp(x[0, :], x[1, :], 1.5)),
    "lp2lp_zpk": lambda x, c: list(signal.lp2lp_zpk(x[0, :2] + 0j, x[1, :] + 0j, 1.0, 1.5)),
    "medfilt": lambda x, c: signal.medfilt(x, 3),
    "minimum_phase": lambda x, c: signal.minimum_phase(c(np.asarray([0.1, 0.3, 0.6, 0.3, 0.1])) * x[0, 0], n_fft=32),
    "normalize": lambda x, c: list(signal.normalize(x[0, :], x[1, :])),
    "oaconvolve": lambda x, c: signal.oaconvolve(_wave(x, c), x[0, :]),
    "order_filter": lambda x, c: signal.order_filter(x, c(np.ones((3, 3))), 4),
    "resample": lambda x, c: signal.resample(_wave(x, c), 20),
    "resample_poly": lambda x, c: signal.resample_poly(_wave(x, c), 3, 2),
    "savgol_filter": lambda x, c: signal.savgol_filter(_wave(x, c), 5, 2),
    "sos2tf": lambda x, c: list(signal.sos2tf(_sos(x, c))),
    "sos2zpk": lambda x, c: list(signal.sos2zpk(_sos(x, c))),
    "sosfilt": lambda x, c: signal.sosfilt(_sos(x, c), c(SIGNAL)),
    "sosfilt_zi": lambda x, c: signal.sosfilt_zi(_sos(x, c)),
    "sosfiltfilt": lambda x, c: signal.sosfiltfilt(_sos(x, c), c(SIGNAL)),
    "tf2sos": lambda x, c: signal.tf2sos(x[0, :], x[1, :]),
    "tf2zpk": lambda x, c: list(signal.tf2zpk(x[0, :], x[1, :])),
    "upfirdn": lambda x, c: signal.upfirdn(x[:, 0], c(Y[:, 0]), 2, 1),
    "vectorstrength": lambda x, c: list(signal.vectorstrength(x[:, 0], 0.7)),
    "wiener": lambda x, c: signal.wiener(x, 3),
    "zpk2sos": lambda x, c: signal.zpk2sos(x[0, :2], x[1, :2], 1.0),
    "zpk2tf": lambda x, c: list(signal.zpk2tf(x[0, :2], x[1, :], 1.5)),
    "chirp": lambda x, c: signal.chirp(x, 1.0, 2.0, 3.0),
    "gausspulse": lambda x, c: signal.gausspulse(x, 2.0),
    "periodogram": lambda x, c: list(signal.periodogram(_wave(x, c)))[1],
    "welch": lambda x, c: list(signal.welch(_wave(x, c), nperseg=16))[1],
    "stft": lambda x, c: list(signal.stft(_wave(x, c), nperseg=8))[2],
    "czt": lambda x, c: signal.czt(_wave(x, c)),
    "lombscargle": lambda x, c: signal.lombscargle(c(Y[:, 0]), x[:, 0], c(np.asarray([1.0, 2.0]))),
}


def _sos(x: Any, c: Any) -> Any:
    a = c(np.asarray([[0.5, 0.3, 0.1, 1.0, -0.4, 0.1], [0.4, 0.2, 0.3, 1.0, 0.3, 0.05]]))
    return a * (1 + c(np.asarray([[1.0, 0.5, 0.2, 0.0, 0.3, 0.1]])) * x[0, 0])


FFT: dict[str, Function] = {
    **{name: lambda x, c, name=name: getattr(fft, name)(x, axis=0) for name in ("fft", "ifft", "rfft", "ihfft")},
    **{name: lambda x, c, name=name: getattr(fft, name)(x + 0j, axis=0) for name in ("irfft", "hfft")},
    **{
        name: lambda x, c, name=name: getattr(fft, name)(x)
        for name in ("fftn", "ifftn", "fft2", "ifft2", "rfftn", "rfft2", "ihfftn", "ihfft2")
    },
    **{name: lambda x, c, name=name: getattr(fft, name)(x + 0j) for name in ("irfftn", "irfft2", "hfftn", "hfft2")},
    **{
        name: lambda x, c, name=name: getattr(fft, name)(x)
        for name in ("dct", "idct", "dst", "idst", "dctn", "idctn", "dstn", "idstn", "fftshift", "ifftshift")
    },
    "fht": lambda x, c: fft.fht(x[:, 0], 0.1, 0.5),
    "ifht": lambda x, c: fft.ifht(x[:, 0], 0.1, 0.5),
}


def _tanhsinh(x: Any, c: Any) -> Any:
    return integrate.tanhsinh(lambda t, a: xp_of(t).exp(-a * t), 0 * x[:, 0], x[:, 0], args=(x[:, 1],)).integral


def xp_of(x: Any) -> Any:
    return x.__array_namespace__()


INTEGRATE: dict[str, Function] = {
    "trapezoid": lambda x, c: integrate.trapezoid(x, axis=0),
    "cumulative_trapezoid": lambda x, c: integrate.cumulative_trapezoid(x, axis=0),
    "simpson": lambda x, c: integrate.simpson(x, axis=0),
    "cumulative_simpson": lambda x, c: integrate.cumulative_simpson(x, dx=0.5, axis=0),
    "romb": lambda x, c: integrate.romb(x, axis=0),
    "fixed_quad": lambda x, c: integrate.fixed_quad(lambda t: x[0, 0] * t**2, 0.0, 1.0)[0],
    "tanhsinh": _tanhsinh,
    "nsum": lambda x, c: (
        integrate.nsum(lambda k, a: 1 / (k + a) ** 2, c(np.asarray(1.0)), c(np.asarray(np.inf)), args=(x[:, 0],)).sum
    ),
    "cubature": lambda x, c: (
        integrate.cubature(
            lambda t, a: xp_of(t).exp(-t * a), c(np.asarray([0.0])), c(np.asarray([1.0])), args=(x[0, 0],)
        ).estimate
    ),
    "qmc_quad": lambda x, c: (
        integrate.qmc_quad(
            lambda t: xp_of(x).sum(t * x[0, 0], axis=0),
            c(np.zeros(2)),
            c(np.ones(2)),
            n_points=16,
            qrng=stats.qmc.Halton(2, rng=0),
        ).integral
    ),
    "quad": lambda x, c: integrate.quad(lambda t: x[0, 0] * t**2, 0.0, 1.0)[0],
    "solve_ivp": lambda x, c: integrate.solve_ivp(lambda t, y: -y, (0.0, 1.0), x[:, 0]).y,
}

KNOTS = np.asarray([0.0, 1.0, 2.0, 3.5, 5.0])

INTERPOLATE: dict[str, Function] = {
    "Akima1DInterpolator": lambda x, c: interpolate.Akima1DInterpolator(c(KNOTS), x)(c(Y)),
    "BPoly": lambda x, c: interpolate.BPoly(x[:, :2], c(np.asarray([0.0, 1.0, 2.0])))(c(Y)),
    "BSpline": lambda x, c: interpolate.BSpline(c(np.arange(9.0)), x, 3)(c(Y + 3)),
    "CubicHermiteSpline": lambda x, c: interpolate.CubicHermiteSpline(c(KNOTS), x, x)(c(Y)),
    "CubicSpline": lambda x, c: interpolate.CubicSpline(c(KNOTS), x)(c(Y)),
    "PPoly": lambda x, c: interpolate.PPoly(x[:, :2], c(np.asarray([0.0, 1.0, 2.0])))(c(Y)),
    "PchipInterpolator": lambda x, c: interpolate.PchipInterpolator(c(KNOTS), x)(c(Y)),
    "RBFInterpolator": lambda x, c: interpolate.RBFInterpolator(c(Y), x)(c(Y + 0.1)),
    "RegularGridInterpolator": lambda x, c: interpolate.RegularGridInterpolator((c(KNOTS), c(np.arange(3.0))), x)(
        c(Y[:, :2])
    ),
    "interpn": lambda x, c: interpolate.interpn((c(KNOTS), c(np.arange(3.0))), x, c(Y[:, :2])),
    "make_interp_spline": lambda x, c: interpolate.make_interp_spline(c(KNOTS), x)(c(Y)),
    "BarycentricInterpolator": lambda x, c: interpolate.BarycentricInterpolator(c(KNOTS), x)(c(Y)),
    "KroghInterpolator": lambda x, c: interpolate.KroghInterpolator(c(KNOTS), x)(c(Y)),
    "interp1d": lambda x, c: interpolate.interp1d(c(KNOTS), x, axis=0)(c(Y)),
    "griddata": lambda x, c: interpolate.griddata(c(Y[:, :2]), x[:, 0], c(Y[:1, :2])),
}

OPTIMIZE: dict[str, Function] = {
    "rosen": lambda x, c: optimize.rosen(x),
    "rosen_der": lambda x, c: optimize.rosen_der(x),
    "rosen_hess": lambda x, c: optimize.rosen_hess(x[:, 0]),
    "rosen_hess_prod": lambda x, c: optimize.rosen_hess_prod(x[:, 0], c(Y[:, 0])),
    "elementwise.find_root": lambda x, c: elementwise.find_root(lambda t, a: t**3 - a, (0 * x, 0 * x + 2), args=(x,)).x,
    "elementwise.find_minimum": lambda x, c: (
        elementwise.find_minimum(lambda t, a: (t - a) ** 2 + a**2, (0 * x - 1, 0 * x + 0.1, 0 * x + 2), args=(x,)).f_x
    ),
    "elementwise.bracket_root": lambda x, c: list(
        elementwise.bracket_root(lambda t, a: t**3 - a - 5, x, x + 0.5, args=(x,)).bracket
    ),
    "elementwise.bracket_minimum": lambda x, c: list(
        elementwise.bracket_minimum(lambda t, a: (t - 3 - a) ** 2, x, args=(x,)).bracket
    ),
}

DIFFERENTIATE: dict[str, Function] = {
    "derivative": lambda x, c: differentiate.derivative(lambda t: xp_of(t).sin(t), x).df,
    "jacobian": lambda x, c: differentiate.jacobian(lambda t: t**2, x).df,
    "hessian": lambda x, c: differentiate.hessian(lambda t: xp_of(t).sum(t**3, axis=0), x).ddf,
}

CONSTANTS: dict[str, Function] = {
    "convert_temperature": lambda x, c: constants.convert_temperature(x, "Celsius", "Fahrenheit"),
    "lambda2nu": lambda x, c: constants.lambda2nu(x),
    "nu2lambda": lambda x, c: constants.nu2lambda(x),
}


def _rotation(x: Any) -> Any:
    return Rotation.from_rotvec(x)


def _rigid(x: Any, c: Any) -> Any:
    return RigidTransform.from_components(x, _rotation(x * 0.7))


SPATIAL: dict[str, Function] = {
    "Rotation.from_quat": lambda x, c: Rotation.from_quat(xp_of(x).concat([x, x[:, :1] + 1], axis=1)).as_matrix(),
    "Rotation.from_matrix": lambda x, c: Rotation.from_matrix(c(np.eye(3)) + 0.3 * x[:3, :]).as_quat(),
    "Rotation.from_rotvec": lambda x, c: Rotation.from_rotvec(x).as_quat(),
    "Rotation.from_euler": lambda x, c: Rotation.from_euler("xyz", x).as_quat(),
    "Rotation.from_davenport": lambda x, c: Rotation.from_davenport(c(np.eye(3)), "extrinsic", x).as_quat(),
    "Rotation.from_mrp": lambda x, c: Rotation.from_mrp(x).as_quat(),
    "Rotation.as_quat": lambda x, c: _rotation(x).as_quat(canonical=True),
    "Rotation.as_matrix": lambda x, c: _rotation(x).as_matrix(),
    "Rotation.as_rotvec": lambda x, c: (_rotation(x) * _rotation(c(Y))).as_rotvec(),
    "Rotation.as_euler": lambda x, c: _rotation(x).as_euler("zyx"),
    "Rotation.as_davenport": lambda x, c: _rotation(x).as_davenport(c(np.eye(3)), "extrinsic"),
    "Rotation.as_mrp": lambda x, c: _rotation(x).as_mrp(),
    "Rotation.concatenate": lambda x, c: Rotation.concatenate([_rotation(x), _rotation(c(Y))]).as_quat(),
    "Rotation.apply": lambda x, c: _rotation(x).apply(c(Y)),
    "Rotation.__mul__": lambda x, c: (_rotation(x) * _rotation(c(Y))).as_quat(),
    "Rotation.__pow__": lambda x, c: (_rotation(x) ** 0.3).as_quat(),
    "Rotation.inv": lambda x, c: _rotation(x).inv().as_matrix(),
    "Rotation.magnitude": lambda x, c: _rotation(x).magnitude(),
    "Rotation.mean": lambda x, c: _rotation(x).mean().as_matrix(),
    "Rotation.__getitem__": lambda x, c: _rotation(x)[1].as_matrix(),
    "Rotation.align_vectors": lambda x, c: Rotation.align_vectors(x, c(Y))[0].as_matrix(),
    "Slerp": lambda x, c: Slerp(np.arange(5.0), _rotation(x))(np.asarray([0.5, 1.5])).as_matrix(),
    "RigidTransform.from_matrix": lambda x, c: RigidTransform.from_matrix(_rigid(x, c).as_matrix()).as_matrix(),
    "RigidTransform.from_rotation": lambda x, c: RigidTransform.from_rotation(_rotation(x)).as_matrix(),
    "RigidTransform.from_translation": lambda x, c: RigidTransform.from_translation(x).as_matrix(),
    "RigidTransform.from_components": lambda x, c: _rigid(x, c).as_matrix(),
    "RigidTransform.from_exp_coords": lambda x, c: RigidTransform.from_exp_coords(
        xp_of(x).concat([x, c(Y)], axis=1)
    ).as_matrix(),
    "RigidTransform.from_dual_quat": lambda x, c: RigidTransform.from_dual_quat(
        _rigid(x, c).as_dual_quat()
    ).as_matrix(),
    "RigidTransform.concatenate": lambda x, c: RigidTransform.concatenate([_rigid(x, c), _rigid(c(Y), c)]).as_matrix(),
    "RigidTransform.mean": lambda x, c: _rigid(x, c).mean().as_matrix(),
    "RigidTransform.as_components": lambda x, c: _rigid(x, c).as_components()[0],
    "RigidTransform.as_exp_coords": lambda x, c: _rigid(x, c).as_exp_coords(),
    "RigidTransform.as_dual_quat": lambda x, c: _rigid(x, c).as_dual_quat(),
    "RigidTransform.__mul__": lambda x, c: (_rigid(x, c) * _rigid(c(Y), c)).as_matrix(),
    "RigidTransform.__pow__": lambda x, c: (_rigid(x, c) ** 0.3).as_matrix(),
    "RigidTransform.inv": lambda x, c: _rigid(x, c).inv().as_matrix(),
    "RigidTransform.apply": lambda x, c: _rigid(x, c).apply(c(Y)),
    "distance.cdist": lambda x, c: distance.cdist(x, c(Y)),
    "distance.pdist": lambda x, c: distance.pdist(x),
    "distance.euclidean": lambda x, c: distance.euclidean(x[0, :], c(Y[0, :])),
    "distance.cosine": lambda x, c: distance.cosine(x[0, :], c(Y[0, :])),
    "distance.minkowski": lambda x, c: distance.minkowski(x[0, :], c(Y[0, :]), 3),
    "distance.jensenshannon": lambda x, c: distance.jensenshannon(x[0, :], c(Y[0, :])),
}


CLUSTER: dict[str, Function] = {
    "vq.whiten": lambda x, c: vq.whiten(x),
    "vq.vq": lambda x, c: vq.vq(x, c(Y[:2, :]))[1],
    "vq.kmeans": lambda x, c: vq.kmeans(x, x[:2, :])[0],
    "hierarchy.linkage": lambda x, c: hierarchy.linkage(x)[:, 2],
}

LINALG: dict[str, Function] = {
    "block_diag": lambda x, c: linalg.block_diag(x, x[:2, :]),
    "fiedler": lambda x, c: linalg.fiedler(x[:, 0]),
    "orthogonal_procrustes": lambda x, c: list(linalg.orthogonal_procrustes(x, c(Y))),
    "circulant": lambda x, c: linalg.circulant(x[:, 0]),
    "toeplitz": lambda x, c: linalg.toeplitz(x[:, 0]),
    "khatri_rao": lambda x, c: linalg.khatri_rao(x, x),
    "expm": lambda x, c: linalg.expm(x[:3, :]),
    "solve": lambda x, c: linalg.solve(x[:3, :], c(Y[:3, 0])),
    "inv": lambda x, c: linalg.inv(x[:3, :]),
    "det": lambda x, c: linalg.det(x[:3, :]),
    "svdvals": lambda x, c: linalg.svdvals(x),
    "cholesky": lambda x, c: linalg.cholesky(x.T @ x),
    "norm": lambda x, c: linalg.norm(x),
    "lstsq": lambda x, c: linalg.lstsq(x, c(Y[:, 0]))[0],
}

NDIMAGE: dict[str, Function] = {
    "gaussian_filter": lambda x, c: ndimage.gaussian_filter(x, 1.0),
    "uniform_filter": lambda x, c: ndimage.uniform_filter(x, 3),
    "convolve": lambda x, c: ndimage.convolve(x, c(np.ones((3, 3)))),
    "map_coordinates": lambda x, c: ndimage.map_coordinates(x, c(np.asarray([[0.5, 1.5], [0.5, 1.2]])), order=1),
    "zoom": lambda x, c: ndimage.zoom(x, 2.0),
    "sobel": lambda x, c: ndimage.sobel(x),
}


PAIRWISE = {
    "additive_chi2_kernel": {},
    "chi2_kernel": {},
    "cosine_distances": {},
    "cosine_similarity": {},
    "euclidean_distances": {},
    "laplacian_kernel": {},
    "linear_kernel": {},
    "manhattan_distances": {},
    "paired_cosine_distances": {},
    "paired_euclidean_distances": {},
    "paired_manhattan_distances": {},
    "polynomial_kernel": {},
    "rbf_kernel": {},
    "sigmoid_kernel": {},
}


def _classified(x: Any, c: Any, make: Any, labels: Any = LABELS) -> Any:
    return make().fit(x, c(labels))


METRICS: dict[str, Function] = {
    **{
        f"metrics.pairwise.{name}": lambda x, c, name=name, options=options: getattr(pairwise, name)(
            x * 2, c(Y), **options
        )
        for name, options in PAIRWISE.items()
    },
    "metrics.pairwise_distances": lambda x, c: metrics.pairwise_distances(x, c(Y), metric="cosine"),
    "metrics.pairwise.pairwise_kernels": lambda x, c: pairwise.pairwise_kernels(x, c(Y), metric="rbf"),
    **{
        f"metrics.{name}": lambda x, c, name=name: getattr(metrics, name)(c(Y), x, multioutput="raw_values")
        for name in (
            "d2_absolute_error_score",
            "d2_pinball_score",
            "explained_variance_score",
            "mean_absolute_error",
            "mean_absolute_percentage_error",
            "mean_pinball_loss",
            "mean_squared_error",
            "mean_squared_log_error",
            "median_absolute_error",
            "r2_score",
            "root_mean_squared_error",
            "root_mean_squared_log_error",
        )
    },
    "metrics.max_error": lambda x, c: metrics.max_error(c(Y[:, 0]), x[:, 0]),
    "metrics.mean_gamma_deviance": lambda x, c: metrics.mean_gamma_deviance(c(Y[:, 0]), x[:, 0]),
    "metrics.mean_poisson_deviance": lambda x, c: metrics.mean_poisson_deviance(c(Y[:, 0]), x[:, 0]),
    "metrics.mean_tweedie_deviance": lambda x, c: metrics.mean_tweedie_deviance(c(Y[:, 0]), x[:, 0], power=1.5),
    "metrics.d2_tweedie_score": lambda x, c: metrics.d2_tweedie_score(c(Y[:, 0]), x[:, 0], power=1.5),
    "metrics.log_loss": lambda x, c: metrics.log_loss(c(CLASSES), _probabilities(x)),
    "metrics.d2_log_loss_score": lambda x, c: metrics.d2_log_loss_score(c(CLASSES), _probabilities(x)),
    "metrics.brier_score_loss": lambda x, c: metrics.brier_score_loss(c(LABELS), x[:, 0]),
    "metrics.d2_brier_score": lambda x, c: metrics.d2_brier_score(c(LABELS), x[:, 0]),
    "metrics.hinge_loss": lambda x, c: metrics.hinge_loss(c(LABELS), x[:, 0]),
    "metrics.calinski_harabasz_score": lambda x, c: metrics.calinski_harabasz_score(x, c(LABELS)),
    "metrics.davies_bouldin_score": lambda x, c: metrics.davies_bouldin_score(x, c(LABELS)),
    "metrics.silhouette_samples": lambda x, c: metrics.silhouette_samples(x, c(LABELS)),
    "utils.extmath.row_norms": lambda x, c: extmath.row_norms(x),
    "utils.extmath.safe_sparse_dot": lambda x, c: extmath.safe_sparse_dot(x, c(Y.T)),
    "utils.extmath.softmax": lambda x, c: extmath.softmax(x),
    "utils.extmath.fast_logdet": lambda x, c: extmath.fast_logdet(x.T @ x),
    "utils.extmath.randomized_svd": lambda x, c: list(extmath.randomized_svd(x, 2, random_state=0))[1],
    "utils.extmath.squared_norm": lambda x, c: extmath.squared_norm(x),
}

ESTIMATORS: dict[str, Function] = {
    "preprocessing.add_dummy_feature": lambda x, c: preprocessing.add_dummy_feature(x),
    "preprocessing.maxabs_scale": lambda x, c: preprocessing.maxabs_scale(x),
    "preprocessing.minmax_scale": lambda x, c: preprocessing.minmax_scale(x),
    "preprocessing.normalize": lambda x, c: preprocessing.normalize(x),
    "preprocessing.normalize (l1)": lambda x, c: preprocessing.normalize(x, norm="l1"),
    "preprocessing.robust_scale": lambda x, c: preprocessing.robust_scale(x),
    "preprocessing.scale": lambda x, c: preprocessing.scale(x),
    "preprocessing.quantile_transform": lambda x, c: preprocessing.quantile_transform(x, n_quantiles=4),
    "preprocessing.FunctionTransformer": lambda x, c: preprocessing.FunctionTransformer(lambda a: a**2).fit_transform(
        x
    ),
    "preprocessing.KernelCenterer": lambda x, c: preprocessing.KernelCenterer().fit_transform(x @ x.T),
    "preprocessing.MaxAbsScaler": lambda x, c: preprocessing.MaxAbsScaler().fit_transform(x),
    "preprocessing.MinMaxScaler": lambda x, c: preprocessing.MinMaxScaler().fit_transform(x),
    "preprocessing.MinMaxScaler.inverse_transform": lambda x, c: (
        preprocessing.MinMaxScaler().fit(x).inverse_transform(c(Y))
    ),
    "preprocessing.Normalizer": lambda x, c: preprocessing.Normalizer().fit_transform(x),
    "preprocessing.PolynomialFeatures": lambda x, c: preprocessing.PolynomialFeatures(3).fit_transform(x),
    "preprocessing.RobustScaler": lambda x, c: preprocessing.RobustScaler().fit_transform(x),
    "preprocessing.SplineTransformer": lambda x, c: preprocessing.SplineTransformer(3).fit(c(Y)).transform(x),
    "preprocessing.StandardScaler": lambda x, c: preprocessing.StandardScaler().fit_transform(x),
    "preprocessing.StandardScaler.inverse_transform": lambda x, c: (
        preprocessing.StandardScaler().fit(x).inverse_transform(c(Y))
    ),
    "decomposition.PCA": lambda x, c: decomposition.PCA(2, svd_solver="full").fit_transform(x) ** 2,
    "decomposition.PCA (covariance_eigh)": lambda x, c: (
        decomposition.PCA(2, svd_solver="covariance_eigh").fit_transform(x) ** 2
    ),
    "decomposition.PCA (randomized)": lambda x, c: (
        decomposition.PCA(2, svd_solver="randomized", random_state=0).fit_transform(x) ** 2
    ),
    "decomposition.PCA (explained_variance_)": lambda x, c: (
        decomposition.PCA(2, svd_solver="full").fit(x).explained_variance_
    ),
    "decomposition.PCA.score_samples": lambda x, c: decomposition.PCA(2, svd_solver="full").fit(x).score_samples(c(Y)),
    "decomposition.PCA.get_covariance": lambda x, c: decomposition.PCA(2, svd_solver="full").fit(x).get_covariance(),
    "decomposition.PCA.inverse_transform": lambda x, c: (
        decomposition.PCA(2, svd_solver="full").fit(c(Y)).inverse_transform(x[:, :2])
    ),
    "decomposition.TruncatedSVD": lambda x, c: decomposition.TruncatedSVD(2, random_state=0).fit(x).singular_values_,
    "discriminant_analysis.LinearDiscriminantAnalysis": lambda x, c: _classified(
        _many(x, c), c, discriminant_analysis.LinearDiscriminantAnalysis, np.arange(40) % 2
    ).decision_function(c(Y)),
    "kernel_approximation.Nystroem": lambda x, c: kernel_approximation.Nystroem(
        n_components=3, random_state=0
    ).fit_transform(x),
    "linear_model.LinearRegression": lambda x, c: linear_model.LinearRegression().fit(x, c(Y[:, 0])).coef_,
    "linear_model.LogisticRegression.decision_function": lambda x, c: _classified(
        c(Y), c, lambda: linear_model.LogisticRegression(solver="lbfgs")
    ).decision_function(x),
    "linear_model.LogisticRegression (coef_)": lambda x, c: (
        _classified(x, c, lambda: linear_model.LogisticRegression(solver="lbfgs")).coef_
    ),
    "linear_model.PoissonRegressor.predict": lambda x, c: (
        linear_model.PoissonRegressor().fit(c(Y), c(Y[:, 0])).predict(x)
    ),
    "linear_model.Ridge": lambda x, c: linear_model.Ridge(solver="svd").fit(x, c(Y[:, 0])).predict(x),
    "linear_model.RidgeCV": lambda x, c: linear_model.RidgeCV().fit(x, c(Y[:, 0])).predict(x),
    "linear_model.RidgeClassifier": lambda x, c: _classified(
        x, c, lambda: linear_model.RidgeClassifier(solver="svd")
    ).decision_function(c(Y)),
    "mixture.GaussianMixture.score_samples": lambda x, c: (
        mixture.GaussianMixture(1, init_params="random", random_state=0).fit(c(MANY)).score_samples(x)
    ),
    "mixture.GaussianMixture (means_)": lambda x, c: (
        mixture.GaussianMixture(1, init_params="random", random_state=0).fit(_many(x, c)).means_
    ),
    "naive_bayes.GaussianNB": lambda x, c: _classified(x, c, naive_bayes.GaussianNB).predict_log_proba(c(Y)),
    "covariance.EmpiricalCovariance": lambda x, c: covariance.EmpiricalCovariance().fit(x).covariance_,
    "covariance.LedoitWolf": lambda x, c: covariance.LedoitWolf().fit(x).covariance_,
    "calibration.CalibratedClassifierCV": lambda x, c: (
        calibration.CalibratedClassifierCV(
            _classified(c(MANY), c, discriminant_analysis.LinearDiscriminantAnalysis, np.arange(40) % 2),
            method="temperature",
            cv=2,
        )
        .fit(c(MANY), c(np.arange(40) % 2))
        .predict_proba(x)
    ),
}

EXTRA: dict[str, Function] = {
    "angle": lambda x, c: xpx.angle(x + 0.5j * x**2),
    "apply_where": lambda x, c: xpx.apply_where(x > 0.5, x, lambda a: a * a, fill_value=0.0),
    "apply_where (two functions)": lambda x, c: xpx.apply_where(
        x > 0.5, (x, c(Y)), lambda a, b: a * b, lambda a, b: a - b
    ),
    "at.set": lambda x, c: xpx.at(x * 1, 0).set(x[1, :]),
    "at.add": lambda x, c: xpx.at(x * 1, (slice(None), 0)).add(x[:, 1]),
    "at.subtract": lambda x, c: xpx.at(x * 1, x > 0.5).subtract(2.0) * x,
    "at.multiply": lambda x, c: xpx.at(x * 1, x > 0.5).multiply(2.0),
    "at.divide": lambda x, c: xpx.at(x * 1, x > 0.5).divide(2.0),
    "at.power": lambda x, c: xpx.at(x * 1, x > 0.5).power(2.0),
    "at.min": lambda x, c: xpx.at(x * 1, 0).min(x[1, :]),
    "at.max": lambda x, c: xpx.at(x * 1, 0).max(x[1, :]),
    "atleast_nd": lambda x, c: xpx.atleast_nd(x, ndim=4),
    "cov": lambda x, c: xpx.cov(x),
    "cov (weights)": lambda x, c: xpx.cov(x, correction=0),
    "create_diagonal": lambda x, c: xpx.create_diagonal(x[0, :], offset=1),
    "deg2rad": lambda x, c: xpx.deg2rad(x),
    "expand_dims": lambda x, c: xpx.expand_dims(x, axis=(0, 3)),
    "kron": lambda x, c: xpx.kron(x, c(Y)),
    "lazy_apply": lambda x, c: xpx.lazy_apply(lambda a: a**2, x, shape=x.shape, dtype=x.dtype),
    "nan_to_num": lambda x, c: xpx.nan_to_num(xp_of(x).where(c(Y > 0.5), x, np.nan)),
    "nanmax": lambda x, c: xpx.nanmax(x, axis=0),
    "nanmean": lambda x, c: xpx.nanmean(x, axis=0),
    "nanmin": lambda x, c: xpx.nanmin(x, axis=0),
    "nansum": lambda x, c: xpx.nansum(x, axis=0),
    "pad": lambda x, c: xpx.pad(x, 1, constant_values=0.5),
    "partition": lambda x, c: xpx.partition(x, 1, axis=0)[1, :],
    "rad2deg": lambda x, c: xpx.rad2deg(x),
    "setdiff1d": lambda x, c: xpx.setdiff1d(x[:, 0], c(Y[:, 0])),
    "sinc": lambda x, c: xpx.sinc(x),
    "union1d": lambda x, c: xpx.union1d(x[:, 0], c(Y[:, 0])),
}

EINOPS: dict[str, Function] = {
    "rearrange": lambda x, c: einops.rearrange(x, "a b -> (b a)"),
    "reduce (sum)": lambda x, c: einops.reduce(x, "a b -> b", "sum"),
    "reduce (mean)": lambda x, c: einops.reduce(x, "a b -> a", "mean"),
    "reduce (max)": lambda x, c: einops.reduce(x, "a b -> a", "max"),
    "reduce (prod)": lambda x, c: einops.reduce(x, "a b -> a", "prod"),
    "repeat": lambda x, c: einops.repeat(x, "a b -> a b k", k=2),
    "einsum": lambda x, c: einops.einsum(x, x, "a b, c b -> a c"),
    "pack": lambda x, c: einops.pack([x, x[:, 0]], "a *")[0],
    "unpack": lambda x, c: list(einops.unpack(x, [(1,), (2,)], "a *")),
    "asnumpy": lambda x, c: einops.asnumpy(x),
}

FUNCTIONS: dict[str, Function] = {
    f"{prefix}.{name}": f
    for prefix, table in {
        "scipy.special": SPECIAL,
        "scipy.stats": {**STATS, **DISTRIBUTIONS},
        "scipy.signal": SIGNALS,
        "scipy.fft": FFT,
        "scipy.integrate": INTEGRATE,
        "scipy.interpolate": INTERPOLATE,
        "scipy.optimize": OPTIMIZE,
        "scipy.differentiate": DIFFERENTIATE,
        "scipy.constants": CONSTANTS,
        "scipy.spatial": SPATIAL,
        "scipy.cluster": CLUSTER,
        "scipy.linalg": LINALG,
        "scipy.ndimage": NDIMAGE,
        "sklearn": {**METRICS, **ESTIMATORS},
        "array_api_extra": EXTRA,
        "einops": EINOPS,
    }.items()
    for name, f in table.items()
}
"""By public name, the library first."""

sklearn.set_config(array_api_dispatch=True)
warnings.simplefilter("ignore")
