"""Thirty-four file names that would do harm, or only look odd, if they were believed."""

ELSEWHERE = "http://elsewhere.example"

NAMES = (
    "../../etc/passwd", "C:\\Windows\\system.ini", "/etc/passwd", "..", ".", "/", "",
    "<script>window.ran=1</script>.png", "<img src=x onerror=window.ran=1>.png", f"<img src={ELSEWHERE}/a.png>.png", "<svg onload=window.ran=1>.svg.png",
    f"![x]({ELSEWHERE}/b.png).png", f"[x]({ELSEWHERE}/c).png", "[x](javascript:window.ran=1).png", f"<{ELSEWHERE}/d>.png", "`code` **bold** _it_ ~~no~~.png",
    "$x^2$ :red[red] :material/home:.png", "# title.png", "> quote.png", "| a | b |.png", "<style>*{display:none}</style>.png", "&lt;b&gt;&#60;i&#62;.png",
    "a\nb\rc.png", "a\0b.png", "\u202egnp.exe", "\u2066\u2067x\u2069.png", "a\u2028b\u2029c.png", "\x1b[31mred\x07.png",
    "x" * 300 + ".png", "صورة.png", "写真.jpg", "con.png", "';DROP TABLE pictures;--.png", "=cmd|'/c calc'!A1.png",
)  # fmt: skip
