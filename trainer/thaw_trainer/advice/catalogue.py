"""Well-known models of the hub for each task: a table, and a start. Any other model of a family is as good to thaw.

Sizes follow from each model's config.json, licences from its model card; a test builds the families without the hub and
compares. A licence is a hint: read the card before you use a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from thaw_trainer.advice.shape import Shape, Stack

TEXT_LABELS = ("text-classification", "token-classification", "question-answering")
WRITERS = ("translation", "summarization")
IMAGES = ("image-classification", "face-recognition")


@dataclass(frozen=True)
class Listed:
    """One model of the catalogue."""

    uri: str
    family: str
    """transformers' `model_type`."""
    tasks: tuple[str, ...]
    shape: Shape
    licence: str
    longest: int | None
    """Tokens, or seconds, that a row has at most; absent: no limit, or all rows are brought to one size."""


def _encoder(stem: int, head: int, blocks: int, each: int, hidden: int, inner: int) -> Shape:
    return Shape(stem, head, (Stack(blocks, each, hidden, inner),))


def _decoder(stem: int, head: int, stack: Stack, vocabulary: int) -> Shape:
    return Shape(stem, head, (stack,), vocabulary=vocabulary)


def _pair(
    sizes: tuple[int, int], blocks: tuple[int, int], each: tuple[int, int], width: tuple[int, int], vocabulary: int
) -> Shape:
    """An encoder and a decoder: (stem, head), and for both (blocks, numbers of a block)."""
    encoder = Stack(blocks[0], each[0], *width)
    decoder = Stack(blocks[1], each[1], *width, reads="target")
    return Shape(*sizes, (encoder, decoder), vocabulary=vocabulary)


def _whisper(sizes: tuple[int, int], blocks: int, each: tuple[int, int], hidden: int, stem_macs: int) -> Shape:
    """Every recording is brought to thirty seconds."""
    encoder = Stack(blocks, each[0], hidden, 4 * hidden)
    decoder = Stack(blocks, each[1], hidden, 4 * hidden, reads="target")
    return Shape(*sizes, (encoder, decoder), vocabulary=51865, positions=1500, stem_macs=stem_macs)


def _patches(stem: int, head: int, each: int, hidden: int, positions: int, stem_macs: int) -> Shape:
    stack = Stack(12, each, hidden, 4 * hidden)
    return Shape(stem, head, (stack,), positions=positions, stem_macs=stem_macs)


def _stages(stem: int, stages: Sequence[tuple[int, int, int]]) -> Shape:
    """A network of convolutions on images of 224 pixels: (numbers, multiplications, numbers kept) of each stage."""
    stacks = tuple(Stack(1, numbers, 0, 0, macs=macs, floats=floats) for numbers, macs, floats in stages)
    return Shape(stem, 0, stacks, positions=1, stem_macs=118_013_952)


_BASE_BLOCK = 7_087_872
_LARGE_BLOCK = 12_596_224
# The convolutions below the blocks, for a second of sound: the extractor, its projection, positions by convolution.
_WAV2VEC2 = Shape(9_317_248, 0, (Stack(12, _BASE_BLOCK, 768, 3072),), positions_per_unit=50, stem_macs=2_710_000_000)
_VIT_TINY = _patches(185_664, 384, 444_864, 192, 197, 28_901_376)
_VIT_SMALL = _patches(371_328, 768, 1_774_464, 384, 197, 57_802_752)
_VIT_BASE = _patches(742_656, 1_536, _BASE_BLOCK, 768, 197, 115_605_504)
_MINILM = _encoder(11_918_592, 147_840, 6, 1_774_464, 384, 1536)
_RESNET_18 = (
    (147_968, 462_422_016, 2_408_448),
    (525_568, 411_041_792, 1_605_632),
    (2_099_712, 411_041_792, 802_816),
    (8_393_728, 411_041_792, 401_408),
)
_RESNET_50 = (
    (215_808, 667_942_912, 11_239_424),
    (1_219_584, 1_027_604_480, 9_734_144),
    (7_098_368, 1_464_336_384, 6_673_408),
    (14_964_736, 809_238_528, 1_981_952),
)

CATALOGUE = (
    Listed("hf://google/electra-small-discriminator", "electra", TEXT_LABELS,
           _encoder(4_005_888, 0, 12, 789_760, 256, 1024), "apache-2.0", 512),
    Listed("hf://sentence-transformers/all-MiniLM-L6-v2", "bert", TEXT_LABELS, _MINILM, "apache-2.0", 512),
    Listed("hf://distilbert/distilbert-base-uncased", "distilbert", TEXT_LABELS,
           _encoder(23_835_648, 0, 6, _BASE_BLOCK, 768, 3072), "apache-2.0", 512),
    Listed("hf://google-bert/bert-base-uncased", "bert", TEXT_LABELS,
           _encoder(23_837_184, 590_592, 12, _BASE_BLOCK, 768, 3072), "apache-2.0", 512),
    Listed("hf://FacebookAI/roberta-base", "roberta", TEXT_LABELS,
           _encoder(39_000_576, 590_592, 12, _BASE_BLOCK, 768, 3072), "mit", 512),
    Listed("hf://microsoft/deberta-v3-base", "deberta-v2", TEXT_LABELS,
           _encoder(98_775_552, 1_536, 12, _BASE_BLOCK, 768, 3072), "mit", 512),
    Listed("hf://FacebookAI/xlm-roberta-base", "xlm-roberta", TEXT_LABELS,
           _encoder(192_398_592, 590_592, 12, _BASE_BLOCK, 768, 3072), "mit", 512),
    Listed("hf://FacebookAI/roberta-large", "roberta", TEXT_LABELS,
           _encoder(52_000_768, 1_049_600, 24, _LARGE_BLOCK, 1024, 4096), "mit", 512),
    Listed("hf://google-t5/t5-small", "t5", WRITERS,
           _pair((16_449_536, 512), (6, 6), (3_147_008, 4_196_096), (512, 2048), 32128), "apache-2.0", 512),
    Listed("hf://Helsinki-NLP/opus-mt-en-de", "marian", ("translation",),
           _pair((30_272_000, 0), (6, 6), (3_152_384, 4_204_032), (512, 2048), 58101), "cc-by-4.0", 512),
    Listed("hf://facebook/bart-base", "bart", ("summarization",),
           _pair((40_182_528, 0), (6, 6), (_BASE_BLOCK, 9_451_776), (768, 3072), 50265), "apache-2.0", 1024),
    Listed("hf://google-t5/t5-base", "t5", WRITERS,
           _pair((24_674_304, 768), (12, 12), (7_079_424, 9_439_488), (768, 3072), 32128), "apache-2.0", 512),
    Listed("hf://facebook/bart-large", "bart", ("summarization",),
           _pair((53_576_704, 0), (12, 12), (_LARGE_BLOCK, 16_796_672), (1024, 4096), 50265), "apache-2.0", 1024),
    Listed("hf://distilbert/distilgpt2", "gpt2", ("causal-lm",),
           _decoder(39_383_808, 1_536, Stack(6, _BASE_BLOCK, 768, 3072), 50257), "apache-2.0", 1024),
    Listed("hf://openai-community/gpt2", "gpt2", ("causal-lm",),
           _decoder(39_383_808, 1_536, Stack(12, _BASE_BLOCK, 768, 3072), 50257), "mit", 1024),
    Listed("hf://HuggingFaceTB/SmolLM2-135M", "llama", ("causal-lm",),
           _decoder(28_311_552, 576, Stack(30, 3_540_096, 576, 1536, gated=True), 49152), "apache-2.0", 8192),
    Listed("hf://EleutherAI/pythia-160m", "gpt_neox", ("causal-lm",),
           _decoder(38_633_472, 38_635_008, Stack(12, _BASE_BLOCK, 768, 3072), 50304), "apache-2.0", 2048),
    Listed("hf://openai-community/gpt2-medium", "gpt2", ("causal-lm",),
           _decoder(52_511_744, 2_048, Stack(24, _LARGE_BLOCK, 1024, 4096), 50257), "mit", 1024),
    Listed("hf://Qwen/Qwen2.5-0.5B", "qwen2", ("causal-lm",),
           _decoder(136_134_656, 896, Stack(24, 14_912_384, 896, 4864, gated=True), 151936), "apache-2.0", 32768),
    Listed("hf://TinyLlama/TinyLlama-1.1B-Chat-v1.0", "llama", ("causal-lm",),
           _decoder(65_536_000, 65_538_048, Stack(22, 44_044_288, 2048, 5632, gated=True), 32000), "apache-2.0", 2048),
    Listed("hf://facebook/deit-tiny-patch16-224", "vit", IMAGES, _VIT_TINY, "apache-2.0", None),
    Listed("hf://microsoft/resnet-18", "resnet", IMAGES, _stages(9_536, _RESNET_18), "apache-2.0", None),
    Listed("hf://facebook/deit-small-patch16-224", "vit", IMAGES, _VIT_SMALL, "apache-2.0", None),
    Listed("hf://microsoft/resnet-50", "resnet", IMAGES, _stages(9_536, _RESNET_50), "apache-2.0", None),
    Listed("hf://google/vit-base-patch16-224", "vit", IMAGES, _VIT_BASE, "apache-2.0", None),
    # At its full size, 800 x 1333 pixels.
    Listed("hf://hustvl/yolos-tiny", "yolos", ("object-detection",),
           _patches(983_232, 149_959, 444_864, 192, 4_251, 611_942_400), "apache-2.0", None),
    Listed("hf://openai/whisper-tiny", "whisper", ("speech-recognition",),
           _whisper((21_199_488, 768), 4, (1_774_272, 2_365_824), 384, 940_032_000), "apache-2.0", 30),
    Listed("hf://openai/whisper-base", "whisper", ("speech-recognition",),
           _whisper((28_462_592, 1_024), 6, (3_151_872, 4_203_008), 512, 1_548_288_000), "apache-2.0", 30),
    Listed("hf://facebook/wav2vec2-base-960h", "wav2vec2", ("speech-recognition",), _WAV2VEC2, "apache-2.0", None),
    Listed("hf://openai/whisper-small", "whisper", ("speech-recognition",),
           _whisper((43_283_712, 1_536), 12, (7_087_104, 9_450_240), 768, 3_207_168_000), "apache-2.0", 30),
    Listed("hf://facebook/wav2vec2-base", "wav2vec2", ("audio-classification",), _WAV2VEC2, "apache-2.0", None),
    Listed("hf://facebook/hubert-base-ls960", "hubert", ("audio-classification",), _WAV2VEC2, "apache-2.0", None),
    Listed("hf://MIT/ast-finetuned-audioset-10-10-0.4593", "audio-spectrogram-transformer", ("audio-classification",),
           _patches(1_131_264, 1_536, _BASE_BLOCK, 768, 1_214, 238_288_896), "bsd-3-clause", None),
)  # fmt: skip
"""In the order of their sizes within a task, more or less."""


def listed(task: str) -> tuple[Listed, ...]:
    """The models of a task, the smallest first."""
    return tuple(sorted((each for each in CATALOGUE if task in each.tasks), key=lambda each: each.shape.parameters))
