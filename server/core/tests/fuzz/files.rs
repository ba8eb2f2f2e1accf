//! Checkpoints as they are read back, and the names and contents of workspaces.

use execgate_core::checkpoint::pack::{self, PackIndex, Packed};
use execgate_core::checkpoint::{
    self, ObjectId, ObjectKind, Patch, Rules, Tree, TreePath, is_text,
};

use super::{Input, cut};

/// Most bytes of an object that is read back here.
const MOST: u64 = 1 << 20;

/// Any bytes are an index, an object or damaged; what was packed is found again.
pub(crate) fn pack(data: &[u8]) {
    if let Some((_, size, used)) = pack::entry_header(data)
        && size <= MOST
    {
        assert!(used <= data.len());
        if let Ok(content) = pack::content(&data[used..], size) {
            assert_eq!(content.len() as u64, size);
        }
    }
    if let Some(index) = PackIndex::parse(data.to_vec()) {
        for id in index.ids().take(1000) {
            let _somewhere = index.find(&id);
        }
    }
    let mut objects = Vec::new();
    let mut contents: Vec<(ObjectId, ObjectKind, &[u8])> = Vec::new();
    let mut bytes = pack::header(1).to_vec();
    for (number, content) in cut(data, 2).into_iter().take(20).enumerate() {
        let kind = [ObjectKind::Blob, ObjectKind::Tree, ObjectKind::Commit][number % 3];
        let entry = pack::entry(kind, content).unwrap();
        let id = ObjectId::of(kind, content);
        if contents.iter().any(|(known, ..)| *known == id) {
            continue;
        }
        let offset = bytes.len();
        objects.push(Packed {
            id,
            crc: pack::checksum(&entry),
            offset: offset as u64,
        });
        contents.push((id, kind, content));
        bytes.extend(entry);
    }
    let checksum = [0; 32];
    let index = PackIndex::parse(pack::index(&mut objects, &checksum)).unwrap();
    assert_eq!(index.len(), contents.len());
    for (id, kind, content) in contents {
        let at = usize::try_from(index.find(&id).unwrap()).unwrap();
        let (found, size, used) = pack::entry_header(&bytes[at..]).unwrap();
        assert_eq!((found, size), (kind, content.len() as u64));
        assert_eq!(pack::content(&bytes[at + used..], size).unwrap(), content);
    }
}

/// Any bytes are a directory or damaged; what is one is the same when it was written again,
/// and no name in it leads elsewhere.
pub(crate) fn tree(data: &[u8]) {
    let mut input = Input(data);
    let notes = input.bytes();
    let notes = (!notes.is_empty()).then_some(notes);
    let content = input.rest();
    let Ok(tree) = Tree::decode(content, notes) else {
        return;
    };
    let _named = Tree::notes_id(content);
    for name in tree.entries.keys() {
        let good = !name.is_empty() && !name.contains(&b'/') && name != b"." && name != b"..";
        assert!(good, "{:?}", name.escape_ascii().to_string());
    }
    let id = tree
        .notes()
        .map(|notes| ObjectId::of(ObjectKind::Blob, &notes));
    let written = tree.encode(id);
    let again = Tree::decode(&written, tree.notes().as_deref()).unwrap();
    assert_eq!(again.entries.len(), tree.entries.len());
    assert_eq!(again.encode(id), written);
    assert_eq!(Tree::notes_id(&written).unwrap(), id);
}

/// Any text is a list of patterns or a complaint, and judges any path, soon.
pub(crate) fn ignore(data: &[u8]) {
    let mut input = Input(data);
    let parent = TreePath::parse(input.bytes()).unwrap_or_default();
    assert!(
        parent
            .names()
            .all(|name| name != b".." && name != b"." && !name.is_empty())
    );
    assert_eq!(TreePath::parse(parent.as_bytes()).as_ref(), Ok(&parent));
    let name = input.bytes();
    let text = String::from_utf8_lossy(input.rest());
    let patterns: Vec<String> = text.lines().take(50).map(str::to_owned).collect();
    let Ok(rules) = Rules::new(&patterns) else {
        return;
    };
    for directory in [false, true] {
        let judged = rules.judge(&parent, name, directory);
        assert_eq!(rules.judge(&parent, name, directory), judged);
    }
}

/// What two contents make a patch of can be made of the one and the patch.
pub(crate) fn patch(data: &[u8]) {
    let mut input = Input(data);
    let before = input.bytes();
    let after = input.rest();
    for (before, after) in [(before, after), (after, before), (before, before)] {
        match checkpoint::patch(before, after) {
            Patch::Text(text) => {
                let shown = || text.escape_ascii().to_string();
                assert_eq!(text.is_empty(), before == after, "{}", shown());
                assert_eq!(applied(before, &text), after, "{}", shown());
            }
            Patch::Binary => assert!(!is_text(before) || !is_text(after)),
            Patch::TooLarge => panic!("it is not"),
        }
    }
}

/// What `patch` makes of a text: hunks replace as many lines as their headers say.
fn applied(before: &[u8], patch: &[u8]) -> Vec<u8> {
    let old: Vec<&[u8]> = before.split_inclusive(|byte| *byte == b'\n').collect();
    let lines: Vec<&[u8]> = patch.split_inclusive(|byte| *byte == b'\n').collect();
    let (mut after, mut at) = (Vec::new(), 0);
    for (index, line) in lines.iter().enumerate() {
        let next = lines.get(index + 1).copied().unwrap_or_default();
        let body = match next.starts_with(b"\\ No newline") {
            true => line[1..].strip_suffix(b"\n").unwrap(),
            false => &line[1..],
        };
        match line[0] {
            b'@' => {
                let start = hunk_start(line);
                after.extend(old[at..start].concat());
                at = start;
            }
            b'+' => after.extend(body),
            b'-' | b' ' => {
                assert_eq!(old[at], body);
                at += 1;
                if line[0] == b' ' {
                    after.extend(body);
                }
            }
            _ => {}
        }
    }
    after.extend(old[at..].concat());
    after
}

/// The first line of a hunk in the text before, from 0.
fn hunk_start(header: &[u8]) -> usize {
    let header = std::str::from_utf8(header).unwrap();
    let range = header.split([' ', '-']).nth(2).unwrap();
    match range.split_once(',') {
        Some((start, "0")) => start.parse().unwrap(),
        Some((start, _)) => start.parse::<usize>().unwrap() - 1,
        None => range.parse::<usize>().unwrap() - 1,
    }
}
