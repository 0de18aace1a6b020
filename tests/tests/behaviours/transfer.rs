//! transfer: bytes arrive as they were sent, in pieces of any size.

use super::{fed, noise, over_one_connection, with};
use std::fs;

#[test]
fn what_is_sent_and_fetched_is_the_same_in_pieces_of_any_size() {
    let bytes = noise(2_000_003);
    over_one_connection(|shared| {
        let here = tempfile::tempdir().unwrap();
        let (there, program) = (here.path().join("copy"), here.path().join("data"));
        fs::write(&program, &bytes).unwrap();
        let (copy, data) = (there.display(), program.display());
        for piece in [10, 100, 1000, 32 * 1024, 64 * 1024, 128 * 1024, 256 * 1024] {
            // The smallest are a write each: no more of them than tell.
            let sent = &bytes[..bytes.len().min(piece * 4_000)];
            let up = with(shared.command(&[]), [format!("cat > {copy}").as_str()]);
            assert_eq!(fed(up, sent, piece).status, Some(0));
            assert!(
                fs::read(&there).unwrap() == sent,
                "sent in pieces of {piece}"
            );
            let down = format!("head -c {} {data} | dd obs={piece} status=none", sent.len());
            let down = fed(with(shared.command(&[]), [down.as_str()]), b"", 1);
            assert!(down.stdout == sent, "fetched in pieces of {piece}");
        }
    });
}

#[test]
fn input_of_any_size_comes_back_as_it_was() {
    over_one_connection(|shared| {
        for size in [
            0,
            1,
            10,
            100,
            1000,
            32 * 1024 - 1,
            32 * 1024,
            64 * 1024 + 1,
            256 * 1024,
            1024 * 1024,
        ] {
            let input = noise(size);
            let back = fed(with(shared.command(&[]), ["cat"]), &input, 1 << 20);
            assert!(back.stdout == input, "{size} bytes came back otherwise");
        }
    });
}

#[test]
fn a_line_of_a_mebibyte_and_bytes_that_are_no_text_pass_unchanged() {
    over_one_connection(|shared| {
        for input in [
            [vec![b'x'; 1024 * 1024], vec![b'\n']].concat(),
            (0..=255).cycle().take(4096).collect(),
            b"\xff\xfe\xc3(\xed\xa0\x80 \xf0\x9f".to_vec(),
        ] {
            let back = fed(with(shared.command(&[]), ["cat"]), &input, 1 << 20);
            assert!(back.stdout == input);
        }
    });
}

#[test]
fn a_long_command_and_one_with_any_bytes_arrive_whole() {
    over_one_connection(|shared| {
        let words = "word ".repeat(20_000);
        let counted = shared.run(&format!("echo '{words}' | wc -w"));
        assert_eq!(counted.ok().trim(), "20000");
        let strange = "\u{1b}]0;title\u{7}é\u{202e}";
        assert_eq!(
            shared.run(&format!("printf '%s' '{strange}'")).ok(),
            strange
        );
    });
}
