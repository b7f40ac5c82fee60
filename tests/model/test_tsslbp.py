"""TSSL-BP against the authors' implementation, and the integer forward pass against the golden model's arithmetic.

``data/tsslbp_reference.npz`` was computed with stonezwr/TSSL-BP (MIT) in double precision.
"""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from spikeloom.model import tsslbp  # noqa: E402
from spikeloom.model.numerics import Multiply, Shift  # noqa: E402

REFERENCE = Path(__file__).parent / "data" / "tsslbp_reference.npz"
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def reference():
    with np.load(REFERENCE) as data:
        return {name: data[name] for name in data.files}


def time_first(array):
    return torch.tensor(np.moveaxis(array, -1, 0))


def time_last(tensor):
    return np.moveaxis(tensor.detach().numpy(), 0, -1)


@pytest.mark.parametrize("setting", ["a", "b", "c"])
def test_neuron_layer_matches_the_authors(reference, setting):
    tau_m, tau_s, steps = (int(v) for v in reference[f"neuron_{setting}_tau_m_tau_s_T"])
    current = time_first(reference[f"neuron_{setting}_current"]).requires_grad_()
    assert len(current) == steps
    dynamics = tsslbp.Dynamics.real(tau_m, tau_s, filtered=False)
    out = tsslbp.psc(tsslbp.spike(current, torch.ones(()), dynamics), tau_s)
    np.testing.assert_allclose(time_last(out), reference[f"neuron_{setting}_psc"], atol=TOLERANCE)
    out.backward(time_first(reference[f"neuron_{setting}_grad_psc"]))
    np.testing.assert_allclose(time_last(current.grad), reference[f"neuron_{setting}_grad_current"], atol=TOLERANCE)


@pytest.mark.filterwarnings("ignore")  # torch.compile trips over warnings of its own
@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("setting", "tau_m", "tau_s"), [("a", 5, 3), ("b", 4, 2)])
def test_network_matches_the_authors(reference, setting, tau_m, tau_s, fused):
    weights = [torch.tensor(reference[f"net_{setting}_w{i}"]).requires_grad_() for i in range(3)]
    labels = torch.tensor(reference[f"net_{setting}_label"])
    dynamics = tsslbp.Dynamics.real(tau_m, tau_s, fused=fused)
    threshold = torch.tensor(float(tau_s), dtype=torch.double)  # the scaled form of theta = 1
    x = torch.tensor(reference[f"net_{setting}_x"])
    signal = x.expand(5, *x.shape)
    for i, weight in enumerate(weights):
        signal = tsslbp.spike(signal @ weight.T, threshold, dynamics)
        np.testing.assert_allclose(time_last(tsslbp.psc(signal, tau_s)), reference[f"net_{setting}_psc{i}"],
                                   atol=TOLERANCE)
    target = tsslbp.kernel_target(labels, 4, 5, tau_s, torch.double)
    np.testing.assert_allclose(time_last(target), reference[f"net_{setting}_target_psc"], atol=TOLERANCE)
    loss = tsslbp.kernel_loss(signal, labels, tau_s)
    assert loss.item() == pytest.approx(float(reference[f"net_{setting}_loss"]), abs=TOLERANCE)
    loss.backward()
    for i, weight in enumerate(weights):
        np.testing.assert_allclose(weight.grad.numpy(), reference[f"net_{setting}_grad_w{i}"], atol=TOLERANCE)


@pytest.mark.parametrize(("synapse", "membrane", "wide"),
                         [(Shift(1), Shift(2), False), (Shift(0), Shift(3), False),
                          (Multiply(2731), Multiply(3277), True)])
def test_integer_forward_is_the_integer_definition(synapse, membrane, wide):
    rng = np.random.default_rng(1)
    drive = rng.integers(-40, 60, (7, 5, 30))
    threshold = rng.integers(100, 900, 30)
    spikes = tsslbp.spike(torch.tensor(drive).float(), torch.tensor(threshold).float(),
                          tsslbp.Dynamics.exact(synapse, membrane, 4, wide=wide))
    current = membrane_state = np.zeros((5, 30), np.int64)
    for t in range(7):
        current = synapse(current) + (drive[t] << 4)
        membrane_state = membrane(membrane_state) + current
        fired = membrane_state > threshold
        np.testing.assert_array_equal(spikes[t].numpy(), fired)
        membrane_state = np.where(fired, 0, membrane_state)
    assert 0 < spikes.mean() < 1


def test_integer_gradient_tends_to_the_float_gradient():
    """With many fractional bits the integers are floats: same spikes, same gradient."""
    rng = np.random.default_rng(2)
    drive = torch.tensor(rng.integers(-100, 160, (5, 4, 50)), dtype=torch.double)
    grad = torch.tensor(rng.normal(size=drive.shape))
    grads = []
    for dynamics, threshold in ((tsslbp.Dynamics.real(4, 2), 200.0),
                                (tsslbp.Dynamics.exact(Shift(1), Shift(2), 16, wide=True), 200.0 * 2**16)):
        x = drive.clone().requires_grad_()
        tsslbp.spike(x, torch.tensor(threshold, dtype=torch.double), dynamics).backward(grad)
        grads.append(x.grad)
    np.testing.assert_allclose(grads[0], grads[1], atol=1e-5)
    assert grads[0].abs().max() > 0


def test_surrogate_gradient_is_that_of_an_arctangent():
    generator = torch.Generator().manual_seed(2)
    drive = (torch.rand(6, 3, 7, generator=generator, dtype=torch.double) * 2).requires_grad_()
    grad = torch.randn(drive.shape, generator=generator, dtype=torch.double)
    tau_m, tau_s = 4.0, 2.0

    current = membrane = torch.zeros(3, 7, dtype=torch.double)
    spikes = []
    for x in drive:
        current = current * (1 - 1 / tau_s) + x
        membrane = membrane * (1 - 1 / tau_m) + current
        soft = torch.atan(torch.pi * (membrane / tau_s - 1)) / torch.pi
        spikes.append((membrane > tau_s).double() + soft - soft.detach())
        membrane = membrane * (1 - spikes[-1].detach())
    wanted, = torch.autograd.grad(torch.stack(spikes), drive, grad)

    dynamics = tsslbp.Dynamics.real(tau_m, tau_s, surrogate=True)
    out = tsslbp.spike(drive, torch.tensor(tau_s, dtype=torch.double), dynamics)
    out.backward(grad)
    np.testing.assert_allclose(out.detach(), torch.stack(spikes).detach(), atol=1e-12)
    np.testing.assert_allclose(drive.grad, wanted, atol=1e-12)


@pytest.mark.parametrize("surrogate", [False, True])
def test_the_potential_has_its_exact_gradient(surrogate):
    """Where the spikes are, and so are the resets: everything else is linear. Spikes' gradients are added."""
    generator = torch.Generator().manual_seed(3)
    drive = (torch.rand(5, 3, 7, generator=generator, dtype=torch.double) * 2).requires_grad_()
    of_spikes = torch.randn(drive.shape, generator=generator, dtype=torch.double)
    of_potential = torch.randn(drive.shape[1:], generator=generator, dtype=torch.double)
    tau_m, tau_s = 4.0, 2.0
    threshold = torch.tensor(tau_s, dtype=torch.double)
    dynamics = tsslbp.Dynamics.real(tau_m, tau_s, surrogate=surrogate)
    spikes, potential = tsslbp.spike_and_potential(drive, threshold, dynamics)
    assert 0 < spikes.mean() < 1

    current = membrane = torch.zeros(3, 7, dtype=torch.double)
    for x, s in zip(drive, spikes.detach(), strict=True):
        current = current * (1 - 1 / tau_s) + x
        reached = membrane * (1 - 1 / tau_m) + current
        membrane = reached * (1 - s)
    np.testing.assert_allclose(potential.detach(), (reached / threshold).detach(), atol=1e-12)
    alone, = torch.autograd.grad(reached / threshold, drive, of_potential)
    got, = torch.autograd.grad(potential, drive, of_potential, retain_graph=True)
    np.testing.assert_allclose(got, alone, atol=1e-12)
    by_spikes, = torch.autograd.grad(spikes, drive, of_spikes, retain_graph=True)
    both, = torch.autograd.grad((spikes, potential), drive, (of_spikes, of_potential))
    np.testing.assert_allclose(both, by_spikes + alone, atol=1e-12)


def test_psc_sum_is_the_sum_of_pscs():
    spikes = (torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(0)) < 0.4).double()
    torch.testing.assert_close(tsslbp.psc_sum(spikes, 3), tsslbp.psc(spikes, 3).sum(0))


def test_count_loss_is_a_hinge():
    """A.2: no error for a label above, or another class below, its count; the same gradient in every step."""
    spikes = torch.zeros(5, 1, 3, dtype=torch.double)
    spikes[:, 0, 0] = 1
    spikes[0, 0, 1] = 1
    spikes.requires_grad_()
    total = tsslbp.psc_sum(spikes, 2)[0].detach()
    labels = torch.tensor([0])
    assert tsslbp.count_loss(spikes, labels, 2, wanted=1, unwanted=2).item() == 0
    loss = tsslbp.count_loss(spikes, labels, 2, wanted=5, unwanted=0)
    errors = torch.stack([(total[0] - 5) / 5, total[1] / 5, torch.tensor(0.0)])
    assert loss.item() == pytest.approx(float(0.5 * 5 * errors.square().sum()))
    out = tsslbp.psc(spikes, 2).detach().requires_grad_()
    tsslbp._CountLoss.apply(out, labels, 5.0, 0.0).backward()
    torch.testing.assert_close(out.grad, errors.expand(5, 1, 3))


def test_softmax_loss_takes_indices_and_probabilities():
    spikes = (torch.rand(5, 8, 4, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    labels = torch.arange(8) % 4
    hard = tsslbp.softmax_loss(spikes, labels, 2, gain=2.0)
    soft = tsslbp.softmax_loss(spikes, torch.nn.functional.one_hot(labels, 4).float(), 2, gain=2.0)
    assert hard.item() == pytest.approx(soft.item())


def test_mse_loss_is_zero_at_the_wanted_sums():
    spikes = torch.zeros(2, 1, 2, dtype=torch.double)
    spikes[0, 0, 0] = spikes[1, 0, 1] = 1  # with tau_s = 2: sums 3/4 and 1/2
    assert tsslbp.mse_loss(spikes, torch.tensor([[0.6, 0.4]]), 2, wanted=1.25).item() == pytest.approx(0)
    assert tsslbp.mse_loss(spikes, torch.tensor([[1.0, 0.0]]), 2, wanted=1).item() == pytest.approx(1 / 16 + 1 / 4)


def test_long_kernel_target_alternates():
    target = tsslbp.kernel_target(torch.tensor([1]), 2, 12, 1, torch.double)  # tau_s = 1: no filter
    assert target[:, 0, 1].tolist() == [0, 1] * 6
    assert not target[:, 0, 0].any()


def test_lsq_rounds_clamps_and_passes_gradients_inside_the_range():
    weight = torch.tensor([[0.26, -3.0, 0.9, -0.1]], requires_grad=True)
    scale = torch.tensor([[0.5]], requires_grad=True)
    whole = tsslbp.lsq(weight, scale, 2)
    assert whole.tolist() == [[1, -2, 1, 0]]
    whole.sum().backward()
    assert weight.grad.tolist() == [[2, 0, 0, 2]]  # of integer * scale, so divided by the scale
    # LSQ eq. 3: round(w/s) - w/s inside, the limit outside; damped by 1/sqrt(weights * limit).
    step = (1 - 0.52) + -2 + 1 + (0 + 0.2)
    assert scale.grad.item() == pytest.approx(2 * step / 4**0.5)


def test_binary_weights_have_no_zero():
    weight = torch.tensor([[0.2, -0.3, 0.0]])
    assert tsslbp.lsq(weight, torch.tensor([[0.1]]), 1).tolist() == [[1, -1, 1]]
