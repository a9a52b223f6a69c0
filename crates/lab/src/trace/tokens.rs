//! Whether two runs read the same tokens, and if not, what the difference looks like.

/// Tokens shown on each side of the first difference.
const AROUND: usize = 3;

/// How a recording of `recorded` differs from a run of `wanted`, as the rest of a sentence that begins with its name; `None`
/// where it does not.
pub(crate) fn difference(wanted: &[u32], recorded: &[u32]) -> Option<String> {
    if recorded == wanted {
        return None;
    }
    if recorded.is_empty() {
        return Some("says nothing of its tokens: record `input_ids` with the values".to_owned());
    }
    let counts = format!("was recorded over other tokens: {} of them against {}", recorded.len(), wanted.len());
    let how = match (wanted, recorded) {
        ([first, second, ..], _) if first == second && &wanted[1..] == recorded => {
            format!("token {first} at the start, a BOS by its place, is doubled here and single there")
        }
        (_, [first, second, ..]) if first == second && &recorded[1..] == wanted => {
            format!("token {first} at the start, a BOS by its place, is doubled there and single here")
        }
        ([first, rest @ ..], _) if rest == recorded => {
            format!("the first token here, {first}, is missing there: a BOS that one tokenizer adds and one does not")
        }
        (_, [first, rest @ ..]) if rest == wanted => {
            format!("the first token there, {first}, is missing here: a BOS that one tokenizer adds and one does not")
        }
        _ if recorded.starts_with(wanted) || wanted.starts_with(recorded) => "one is the beginning of the other".into(),
        _ => elsewhere(wanted, recorded),
    };
    Some(format!("{counts}; {how}"))
}

fn elsewhere(wanted: &[u32], recorded: &[u32]) -> String {
    let at = wanted.iter().zip(recorded).take_while(|(a, b)| a == b).count();
    let end = wanted.iter().rev().zip(recorded.iter().rev()).take_while(|(a, b)| a == b).count();
    let end = end.min(wanted.len().min(recorded.len()) - at);
    let show = |tokens: &[u32]| {
        let to = (tokens.len() - end).min(at + AROUND).max(at);
        let dots = if tokens.len() - end > to { " …" } else { "" };
        let ids: Vec<String> = tokens[at..to].iter().map(u32::to_string).collect();
        format!("[{}{dots}]", ids.join(" "))
    };
    let (here, there) = (show(wanted), show(recorded));
    let hint = if end > 0 { ", and the ends agree: another pre-tokenizer cuts this piece otherwise" } else { "" };
    format!("the first difference at position {at}: {here} here, {there} there{hint}")
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn the_difference_says_what_it_looks_like() {
        let of = |wanted: &[u32], recorded: &[u32]| difference(wanted, recorded).unwrap_or_default();
        assert_eq!(of(&[1, 2], &[1, 2]), "");
        assert!(of(&[1, 2], &[]).contains("says nothing of its tokens"));
        assert!(of(&[7, 2, 3], &[2, 3]).contains("the first token here, 7, is missing there"));
        assert!(of(&[2, 3], &[7, 2, 3]).contains("the first token there, 7, is missing here"));
        assert!(of(&[7, 7, 2], &[7, 2]).contains("doubled here"));
        assert!(of(&[7, 2], &[7, 7, 2]).contains("doubled there"));
        assert!(of(&[1, 2, 3], &[1, 2]).contains("beginning"));
        let cut = of(&[1, 2, 3, 9], &[1, 5, 6, 7, 8, 9]);
        assert!(cut.contains("at position 1: [2 3] here, [5 6 7 …] there") && cut.contains("pre-tokenizer"), "{cut}");
        let plain = of(&[1, 2], &[3, 4]);
        assert!(
            plain.contains("at position 0: [1 2] here, [3 4] there") && !plain.contains("pre-tokenizer"),
            "{plain}"
        );
    }
}
