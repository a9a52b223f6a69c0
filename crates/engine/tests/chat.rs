//! Chat templates against transformers' renderings, and cases worked by hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::{FIXTURES, both, json};
use serde::Deserialize;
use twinpath_engine::chat::{ChatError, ChatOptions, ChatTemplate, Date, MAX_TEMPLATE_BYTES, Message};

#[derive(Deserialize)]
struct Chats {
    template: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    messages: Vec<Message>,
    add_generation_prompt: bool,
    rendered: String,
    ids: Vec<u32>,
}

#[test]
fn renderings_and_their_ids_equal_the_reference() {
    for fixture in FIXTURES {
        let chats: Chats = json(fixture, "chat.json");
        assert!(chats.cases.len() >= 4, "{fixture}");
        let template = ChatTemplate::new(&chats.template).unwrap();
        for case in &chats.cases {
            let options = ChatOptions {
                add_generation_prompt: case.add_generation_prompt,
                bos_token: chats.bos_token.as_deref(),
                eos_token: chats.eos_token.as_deref(),
                today: None,
            };
            let rendered = template.render(&case.messages, &options).unwrap();
            assert_eq!(rendered, case.rendered, "{fixture}");
            for (made, tokenizer) in both(fixture) {
                assert_eq!(tokenizer.encode(&rendered, false).unwrap(), case.ids, "{fixture} {made}");
            }
        }
    }
}

#[test]
fn the_template_of_the_metadata_is_the_reference_template() {
    for fixture in FIXTURES {
        let [(_, tokenizer), _] = both(fixture);
        assert_eq!(tokenizer.chat_template().unwrap(), json::<Chats>(fixture, "chat.json").template);
    }
}

fn render(source: &str, options: &ChatOptions<'_>) -> Result<String, ChatError> {
    let messages = [Message::new("system", " S "), Message::new("user", "Hi <b>"), Message::new("assistant", "A\n")];
    ChatTemplate::new(source)?.render(&messages, options)
}

fn plain(source: &str) -> String {
    render(source, &ChatOptions::default()).unwrap()
}

#[test]
fn blocks_are_trimmed_as_transformers_sets_jinja() {
    assert_eq!(plain("{% if true %}\n  a\n  {% endif %}\nb\n"), "  a\nb");
    assert_eq!(plain("  {%- if true %}\n\n  a {%- endif %}\n"), "\n  a");
}

#[test]
fn python_methods_slices_and_filters_work() {
    assert_eq!(plain("{{ messages[0].content.strip() }}|{{ messages[0]['content'] | trim }}"), "S|S");
    assert_eq!(plain("{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }}"), "b");
    assert_eq!(
        plain("{{ messages[1].content.startswith('Hi') }} {{ 'Ab'.upper() }} {{ 'aXb'.replace('X', '-') }}"),
        "True AB a-b"
    );
    assert_eq!(plain("{% for m in messages[::-1] %}{{ m.role[0] }}{% endfor %}"), "aus");
    assert_eq!(plain("{{ messages[1:] | length }}{{ messages[-1].get('content') }}"), "2A\n");
    assert_eq!(plain("{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{% endfor %}"), "b1a2");
}

#[test]
fn loop_controls_and_namespaces_work() {
    let source = "{% set ns = namespace(n=0) %}{% for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}\
                  {% set ns.n = ns.n + 1 %}{% if loop.last %}{% break %}{% endif %}{% endfor %}{{ ns.n }}";
    assert_eq!(plain(source), "2");
}

#[test]
fn text_is_never_escaped() {
    assert_eq!(plain("{{ messages[1].content }}"), "Hi <b>");
}

#[test]
fn json_is_written_as_python_writes_it() {
    assert_eq!(plain("{{ {'b': [1, 2.5, none], 'a': 'é<\"'} | tojson }}"), r#"{"b": [1, 2.5, null], "a": "é<\""}"#);
    assert_eq!(plain("{{ {'b': [1], 'e': {}} | tojson(indent=2) }}"), "{\n  \"b\": [\n    1\n  ],\n  \"e\": {}\n}");
}

#[test]
fn undefined_values_are_false_but_have_no_attributes() {
    assert_eq!(
        plain("{% if tools %}t{% endif %}{% if enable_thinking is not defined %}d{% endif %}[{{ nothing }}]"),
        "d[]"
    );
    assert!(render("{{ nothing.at_all }}", &ChatOptions::default()).is_err());
    assert_eq!(plain("{{ bos_token is defined }}"), "False");
    let options = ChatOptions { bos_token: Some("<s>"), ..ChatOptions::default() };
    assert_eq!(render("{{ bos_token }}", &options).unwrap(), "<s>");
}

#[test]
fn generation_tags_leave_their_content_and_white_space() {
    assert_eq!(plain("a {%- generation -%} b {%- endgeneration %} c"), "ab c");
    assert_eq!(plain("{{ 'generation' }}{% generation %}x{% endgeneration %}"), "generationx");
}

#[test]
fn an_error_names_the_line_and_the_templates_own_words() {
    let error = render("a\nb\n{{ raise_exception('roles must alternate') }}", &ChatOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "chat template, line 3: roles must alternate");
    let error = ChatTemplate::new("a\n{% for %}").unwrap_err();
    assert!(matches!(error, ChatError::Template { line: 2, .. }), "{error}");
    let error = render("\n{{ 'a'.no_such_method() }}", &ChatOptions::default()).unwrap_err();
    assert!(matches!(error, ChatError::Template { line: 2, .. }), "{error}");
}

#[test]
fn an_endless_template_ends_with_an_error() {
    let source = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
    assert!(render(source, &ChatOptions::default()).is_err());
    let long = " ".repeat(MAX_TEMPLATE_BYTES + 1);
    assert!(matches!(ChatTemplate::new(&long), Err(ChatError::TooLong { .. })));
}

#[test]
fn today_is_given_never_read_from_a_clock() {
    let source = "{{ strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' }}";
    assert_eq!(plain(source), "26 Jul 2024");
    let on = |year, month, day| ChatOptions { today: Some(Date { year, month, day }), ..ChatOptions::default() };
    assert_eq!(render(source, &on(2026, 11, 2)).unwrap(), "02 Nov 2026");
    assert_eq!(
        render("{{ strftime_now('%A %a %B %m %y %%') }}", &on(2024, 2, 29)).unwrap(),
        "Thursday Thu February 02 24 %"
    );
    assert_eq!(render("{{ strftime_now('%A') }}", &on(2000, 1, 1)).unwrap(), "Saturday");
    assert!(render("{{ strftime_now('%H') }}", &on(2000, 1, 1)).unwrap_err().to_string().contains("%H"));
    assert!(render("{{ strftime_now('%d') }}", &on(2000, 13, 1)).is_err());
}
