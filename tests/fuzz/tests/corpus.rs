//! What was found once stays found: every example that is kept holds, and so do a few small ones.

use std::fs;
use std::path::Path;

type Target = (&'static str, fn(&[u8]));

#[test]
fn what_is_kept_of_the_corpus_holds() {
    let targets: [Target; 7] = [
        ("login_name", fuzz::login_name::holds),
        ("command", fuzz::command::holds),
        ("scp", fuzz::scp::holds),
        ("sftp", fuzz::sftp::holds),
        ("journal", fuzz::journal::holds),
        ("manifest", fuzz::manifest::holds),
        ("stream", fuzz::stream::holds),
    ];
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, holds) in targets {
        let kept = fs::read_dir(corpus.join(name)).unwrap();
        let kept: Vec<_> = kept.map(|file| file.unwrap().path()).collect();
        assert!(!kept.is_empty(), "nothing is kept for {name}");
        for file in kept {
            println!("{}", file.display());
            holds(&fs::read(&file).unwrap());
        }
        holds(b"");
    }
}
