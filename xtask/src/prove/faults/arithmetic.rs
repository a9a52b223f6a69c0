//! Faults of kernels and of the mathematics.

use super::Catcher::Test;
use super::Edit::Replace;
use super::Fault;

const PATHS: &[&str] = &["-p", "twinpath-paths", "--lib"];
const RECORDINGS: &[&str] = &["-p", "twinpath-paths", "--test", "recordings"];

/// See [`AREAS`](super::AREAS).
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "AVX-512 decodes the high codes of Q4_K with the low ones' scale",
        edits: &[Replace(
            "crates/paths/src/decode/x86.rs",
            "_mm512_srli_epi32::<4>(q[0]), high)",
            "_mm512_srli_epi32::<4>(q[0]), low)",
        )],
        catcher: Test {
            target: &["-p", "twinpath-paths", "--lib"],
            name: "every_format_has_the_bits_of_the_rounded_exact_value_on_every_instruction_set",
        },
        sign: "",
    },
    Fault {
        name: "rows that are left over beside four meet one position as the first of the four",
        edits: &[Replace(
            "crates/paths/src/decode/x86.rs",
            "(four.len() * ROWS + i) * apart",
            "four.len() * ROWS * apart",
        )],
        catcher: Test {
            target: &["-p", "twinpath-paths", "--lib"],
            name: "linear_has_the_bits_of_its_stated_order_for_every_format",
        },
        sign: "",
    },
    Fault {
        name: "a dot product's sums are added in another order",
        edits: &[Replace(
            "crates/paths/src/simd/dot.rs",
            "for width in [8, 4, 2, 1] {\n        for j in 0..width {\n            s[j] += s[j + width];",
            "for width in [1, 2, 4, 8] {\n        for j in (0..16).step_by(2 * width) {\n            s[j] += s[j + width];",
        )],
        catcher: Test { target: PATHS, name: "every_tile_of_every_instruction_set_has_the_bits_of_the_plain_order" },
        sign: "",
    },
    Fault {
        name: "the AVX2 dot product rounds its products",
        edits: &[
            Replace("crates/paths/src/simd/dot.rs", "    std::arch::x86_64::_mm256_fmadd_ps\n", "    super::planted\n"),
            Replace(
                "crates/paths/src/simd/dot.rs",
                "#[inline(always)]\npub(super) fn zero() -> Lanes {",
                "#[target_feature(enable = \"avx2\")]\nfn planted(\n    a: std::arch::x86_64::__m256,\n    b: \
                       std::arch::x86_64::__m256,\n    c: std::arch::x86_64::__m256,\n) -> std::arch::x86_64::__m256 \
                       {\n    std::arch::x86_64::_mm256_add_ps(std::arch::x86_64::_mm256_mul_ps(a, b), \
                       c)\n}\n\n#[inline(always)]\npub(super) fn zero() -> Lanes {",
            ),
        ],
        catcher: Test { target: PATHS, name: "every_tile_of_every_instruction_set_has_the_bits_of_the_plain_order" },
        sign: "avx2",
    },
    Fault {
        name: "sixteen sums that AVX-512 reduces together change places",
        edits: &[Replace("crates/paths/src/simd/dot/x86.rs", "sums[s % 4 * 4 + s / 4]", "sums[s]")],
        catcher: Test { target: PATHS, name: "sums_reduced_together_have_the_bits_of_each_by_itself" },
        sign: "avx512",
    },
    Fault {
        name: "of two rows whose dots AVX-512 makes together the second is the first again",
        edits: &[Replace(
            "crates/paths/src/simd/dot/x86.rs",
            "_mm512_loadu_ps(second.add(at))",
            "_mm512_loadu_ps(y.add(at))",
        )],
        catcher: Test {
            target: PATHS,
            name: "dots_of_every_instruction_set_have_the_bits_of_the_plain_order_and_keep_to_their_places",
        },
        sign: "avx512",
    },
    Fault {
        name: "a weighted sum of rows on AVX-512 leaves the first row out",
        edits: &[Replace(
            "crates/paths/src/simd/combine.rs",
            "                for k in 0..count {\n",
            "                for k in usize::from($width == 16 && C == 8)..count {\n",
        )],
        catcher: Test {
            target: PATHS,
            name: "weighted_sums_have_the_bits_of_the_plain_order_on_every_instruction_set",
        },
        sign: "avx512",
    },
    Fault {
        name: "the AMX kernel scales the sums of a block by the next block's scales",
        edits: &[Replace(
            "crates/paths/src/fused/x86/amx.rs",
            "Some(Step { b, start, strip, row",
            "Some(Step { b, start, strip: &strips[(i + 1) % (count * blocks)], row",
        )],
        catcher: Test { target: PATHS, name: "groups_have_the_bits_of_portable_code" },
        sign: "amx",
    },
    Fault {
        name: "strips of rows that AMX keeps together share their totals",
        edits: &[Replace("crates/paths/src/fused/x86/amx.rs", "i % count * padded + start", "start")],
        catcher: Test { target: PATHS, name: "groups_have_the_bits_of_portable_code" },
        sign: "amx",
    },
    Fault {
        name: "a sum depends on the number of threads",
        edits: &[Replace(
            "crates/paths/src/simd/dot.rs",
            "    let mut s = *sums;\n",
            "    let mut s = *sums;\n    if rayon::current_num_threads() > 1 {\n        s.swap(0, 1);\n    }\n",
        )],
        catcher: Test { target: PATHS, name: "ops_without_weight_matrices_have_one_value_also_row_by_row" },
        sign: "on 2 threads",
    },
    Fault {
        name: "the AVX2 integer kernel loses half of the wide products",
        edits: &[Replace(
            "crates/paths/src/fused/x86/products.rs",
            "_mm256_add_epi32(_mm256_madd_epi16(low_c, low_q), _mm256_madd_epi16(high_c, high_q))",
            "_mm256_madd_epi16(low_c, low_q)",
        )],
        catcher: Test { target: PATHS, name: "all_instruction_sets_give_the_same_bits" },
        sign: "avx2",
    },
    Fault {
        name: "AVX-512 codes take the positive extreme for the first of two equal ones",
        edits: &[Replace(
            "crates/paths/src/q8/x86.rs",
            "    if plus == minus {\n        return Ok(extreme(x, top));\n    }\n",
            "",
        )],
        catcher: Test { target: PATHS, name: "blocks_of_all_kinds_are_coded_alike_by_every_instruction_set" },
        sign: "avx512",
    },
    Fault {
        name: "the greedy sampler does not look at the last logits",
        edits: &[Replace("crates/engine/src/sampling.rs", "most.iter().chain(rest).copied()", "most.iter().copied()")],
        catcher: Test {
            target: &["-p", "twinpath-engine", "--lib"],
            name: "the_greedy_way_without_a_penalty_finds_the_best_candidate",
        },
        sign: "",
    },
    Fault {
        name: "the kernel of copied rows takes the high nibbles of Q4_K for the low ones",
        edits: &[Replace(
            "crates/paths/src/fused/x86/lanes/q4_k.rs",
            "codes[8 + k] = _mm512_and_si512(w, high);",
            "codes[8 + k] = _mm512_sllv_epi32(_mm512_and_si512(w, low), _mm512_set1_epi32(4));",
        )],
        catcher: Test { target: PATHS, name: "copies_have_the_bits_of_portable_code_on_rows_as_stored" },
        sign: "copied",
    },
    Fault {
        name: "dots of copied rows begin as if their codes were not raised",
        edits: &[Replace(
            "crates/paths/src/fused/x86/lanes/runs.rs",
            "F::RAISED.map(|bits| -(centre::<F>() << bits))",
            "F::RAISED.map(|_| -centre::<F>())",
        )],
        catcher: Test { target: PATHS, name: "copies_have_the_bits_of_portable_code_on_rows_as_stored" },
        sign: "copied",
    },
    Fault {
        name: "a run of Q6_K is so long that its dot no longer fits 16 bits",
        edits: &[Replace(
            "crates/paths/src/fused/x86/lanes/runs.rs",
            "    64 / centre::<F>() as usize\n",
            "    if centre::<F>() == 32 { 4 } else { 64 / centre::<F>() as usize }\n",
        )],
        catcher: Test { target: PATHS, name: "copies_have_the_bits_of_portable_code_on_rows_as_stored" },
        sign: "copied",
    },
    Fault {
        name: "the scale of a 32 of copied rows is that of the next",
        edits: &[Replace(
            "crates/paths/src/fused/x86/lanes/mod.rs",
            "_mm512_set1_ps(*d.add(j))",
            "_mm512_set1_ps(*d.add(j ^ 1))",
        )],
        catcher: Test { target: PATHS, name: "copies_have_the_bits_of_portable_code_on_rows_as_stored" },
        sign: "Per32",
    },
    Fault {
        name: "the minimum of a 32 of copied rows is that of the next",
        edits: &[Replace("crates/paths/src/fused/x86/lanes/mod.rs", "small.min(j)", "small.min(j ^ 1)")],
        catcher: Test { target: PATHS, name: "copies_have_the_bits_of_portable_code_on_rows_as_stored" },
        sign: "Per32",
    },
    Fault {
        name: "every second 32 of a tile takes the scales of the one before",
        edits: &[Replace("crates/paths/src/fused/tile/split.rs", "one_of(pairs, j)", "one_of(pairs, j / 2 * 2)")],
        catcher: Test { target: PATHS, name: "all_instruction_sets_give_the_same_bits" },
        sign: "avx512vnni",
    },
    Fault {
        name: "eight rows of 32s take their scales for minimums on AVX2",
        edits: &[Replace(
            "crates/paths/src/fused/x86/split.rs",
            "_mm256_slli_epi32::<16>(pairs)",
            "_mm256_slli_epi32::<0>(pairs)",
        )],
        catcher: Test { target: PATHS, name: "all_instruction_sets_give_the_same_bits" },
        sign: "avx2",
    },
    Fault {
        name: "portable code multiplies the sums of 32 activations by the next scale",
        edits: &[Replace(
            "crates/paths/src/fused/split.rs",
            "(d * scale, dm * min, x.scaled[j])",
            "(d * scale, dm * min, x.scaled[j ^ 1])",
        )],
        catcher: Test { target: PATHS, name: "outputs_with_a_scale_per_32_have_the_bits_of_their_stated_order" },
        sign: "Q4_K",
    },
    Fault {
        name: "dots of many positions meet their scales in pairs whether they fit 16 bits or not",
        edits: &[Replace(
            "crates/paths/src/fused/tile/dots.rs",
            "usize::from(most) * reach::<F>() <= i16::MAX as usize",
            "usize::from(most) * reach::<F>() <= usize::MAX",
        )],
        catcher: Test { target: PATHS, name: "all_instruction_sets_give_the_same_bits" },
        sign: "avx512vnni",
    },
    Fault {
        name: "activations of one sign are taken to be half of all",
        edits: &[Replace(
            "crates/paths/src/q8/x86.rs",
            "_mm512_add_epi64(magnitudes, sums)",
            "_mm512_min_epu64(magnitudes, _mm512_add_epi64(magnitudes, sums))",
        )],
        catcher: Test { target: PATHS, name: "the_largest_sums_of_groups_are_those_of_the_codes" },
        sign: "avx512vnni",
    },
    Fault {
        name: "many positions look for a copied strip as if the strips of a group did not take turns",
        edits: &[Replace("crates/paths/src/fused/tiles.rs", "block * strips + i)", "i * blocks + block)")],
        catcher: Test { target: PATHS, name: "copies_have_the_bits_of_portable_code_on_rows_as_stored" },
        sign: "copied",
    },
    Fault {
        name: "rows that are not a whole matrix are read from its copy",
        edits: &[Replace(
            "crates/paths/src/fused/tiles.rs",
            "same.then(|| Interleaved {",
            "(same || true).then(|| Interleaved {",
        )],
        catcher: Test {
            target: PATHS,
            name: "several_matrices_are_found_each_and_what_was_not_copied_is_read_as_stored",
        },
        sign: "",
    },
    Fault {
        name: "the VNNI kernel of whole Q4_K rows takes the minimums of one block for those of its neighbour",
        edits: &[Replace(
            "crates/paths/src/fused/x86/wide/q4_k.rs",
            "(0, 4, 8, 12));\n            let m =",
            "(4, 0, 8, 12));\n            let m =",
        )],
        catcher: Test { target: PATHS, name: "all_instruction_sets_give_the_same_bits" },
        sign: "avx512vnni",
    },
    Fault {
        name: "the VNNI kernel of whole Q6_K rows reads a group's scale as unsigned",
        edits: &[Replace(
            "crates/paths/src/fused/x86/wide/q6_k.rs",
            "_mm512_srai_epi16::<8>(_mm512_shuffle_epi8(each, SECOND.load()))",
            "_mm512_srli_epi16::<8>(_mm512_shuffle_epi8(each, SECOND.load()))",
        )],
        catcher: Test { target: PATHS, name: "all_instruction_sets_give_the_same_bits" },
        sign: "avx512vnni",
    },
    Fault {
        name: "the AMX kernel counts the upper part of a scaled code for half",
        edits: &[Replace(
            "crates/paths/src/fused/x86/amx.rs",
            "_mm512_slli_epi32::<7>(load(high",
            "_mm512_slli_epi32::<6>(load(high",
        )],
        catcher: Test { target: PATHS, name: "all_instruction_sets_give_the_same_bits" },
        sign: "amx",
    },
    Fault {
        name: "the last part of an op that threads share out is forgotten",
        edits: &[Replace("crates/paths/src/team.rs", "for_each(len.div_ceil(chunk), ", "for_each(len / chunk, ")],
        catcher: Test { target: PATHS, name: "chunks_cover_the_data_in_their_places" },
        sign: "",
    },
    Fault {
        name: "a thread that is done leaves the parts of those that have not come",
        edits: &[Replace("crates/paths/src/team.rs", "(own..threads).chain(0..own)", "own..own + 1")],
        catcher: Test { target: PATHS, name: "every_part_is_done_once_whatever_the_threads" },
        sign: "threads",
    },
    Fault {
        name: "a batch adds its blocks in another order",
        edits: &[Replace(
            "crates/paths/src/fused/row.rs",
            "zip(activations) {\n        F::unpack(s, bytes, &mut block);\n        let factors",
            "zip(activations).rev() {\n        F::unpack(s, bytes, &mut block);\n        let factors",
        )],
        catcher: Test { target: PATHS, name: "a_batch_gives_the_bits_of_its_rows_alone_and_threads_change_nothing" },
        sign: "",
    },
    Fault {
        name: "activations that are not numbers are coded as zeros",
        edits: &[Replace(
            "crates/paths/src/q8.rs",
            "        return f32::NAN;\n    }\n    let iscale",
            "        return 0.0;\n    }\n    let iscale",
        )],
        catcher: Test {
            target: PATHS,
            name: "a_non_finite_activation_makes_every_output_of_its_position_nan_and_no_other",
        },
        sign: "",
    },
    Fault {
        name: "the oracle's RMSNorm without eps",
        edits: &[Replace(
            "crates/engine/src/oracle.rs",
            "(mean_square + eps).sqrt()",
            "(mean_square + 0.0 * eps).sqrt()",
        )],
        catcher: Test { target: RECORDINGS, name: "llama_with_grouped_queries_and_adjacent_pairs" },
        sign: "oracle logits",
    },
    Fault {
        name: "the oracle rotates adjacent pairs where halves are meant",
        edits: &[Replace(
            "crates/engine/src/oracle.rs",
            "Pairing::HalfSplit => (i, i + pairs),",
            "Pairing::HalfSplit => (2 * i, 2 * i + 1 + 0 * pairs),",
        )],
        catcher: Test { target: RECORDINGS, name: "qwen3_with_head_norms" },
        sign: "oracle logits",
    },
    Fault {
        name: "RoPE begins at position 1",
        edits: &[Replace("crates/paths/src/f32_ops/rope.rs", "start + t", "start + t + 1")],
        catcher: Test { target: RECORDINGS, name: "qwen3_with_head_norms" },
        sign: "standalone at",
    },
    Fault {
        name: "the oracle's query heads read the wrong key head",
        edits: &[Replace(
            "crates/engine/src/oracle.rs",
            "let kv = h / (heads / kv_heads);\n            for s in 0..keys",
            "let kv = h % kv_heads;\n            for s in 0..keys",
        )],
        catcher: Test { target: RECORDINGS, name: "llama_with_grouped_queries_and_adjacent_pairs" },
        sign: "oracle logits",
    },
    Fault {
        name: "a sliding window is one key too wide",
        edits: &[Replace("crates/engine/src/op.rs", "end.saturating_sub(w)", "end.saturating_sub(w + 1)")],
        catcher: Test { target: RECORDINGS, name: "mistral_with_sliding_window" },
        sign: "oracle logits",
    },
    Fault {
        name: "YaRN without its factor on cos and sin",
        edits: &[Replace(
            "crates/engine/src/rope.rs",
            "if *factor > 1.0 => 0.1 * libm::log(*factor) + 1.0,",
            "if *factor > 1.0 => 1.0,",
        )],
        catcher: Test { target: RECORDINGS, name: "qwen2_with_yarn" },
        sign: "oracle logits",
    },
];
