"""The documentation: ``sphinx-build -n -W docs docs/_build/html``.

Built offline; every picture and number is made by the live code.
"""

import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent), str(HERE.parent / "tests")]

import fxscope  # noqa: E402

warnings.filterwarnings("ignore", category=FutureWarning, message=".*torch.jit")

project = "fxscope"
author = "The fxscope authors"
copyright = "the fxscope authors"
release = version = fxscope.__version__
html_title = f"fxscope {version}"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "docstrings",
    "sphinx.ext.napoleon",
    "gallery",
    "mathml",
    "run",
    "graphs",
    "cards",
    "errors",
    "live",
    "article",
    "versions",
    "pages",
]
templates_path = ["_templates"]
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_ext", "**sg_execution_times*"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["fxscope.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1b68a8", "color-brand-content": "#1b68a8"},
    "dark_css_variables": {"color-brand-primary": "#74baff", "color-brand-content": "#74baff"},
}
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "a11y-high-contrast-dark"
viewcode_line_numbers = True

napoleon_google_docstring = False
# names and types as they are written, without references to types of other packages
napoleon_use_param = False
napoleon_use_rtype = False
# several names may share a line, as in Parameters
napoleon_custom_sections = [("Attributes", "params_style")]
nitpick_ignore_regex = [(r"py:(class|exc|obj)", r"(?!fxscope\.).*")]  # sections name types as a reader would
autodoc_typehints = (
    "signature"  # of results and attributes; those of arguments stand beside their names (docstrings.py)
)
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"(training/|serving/|/_|__init__)",
    "image_scrapers": ("gallery.figures",),
    "capture_repr": ("_repr_html_",),
    "reset_modules": ("gallery.quiet",),
    "show_memory": False,
    "write_computation_times": False,  # its page fetches a table's script from outside
    "show_signature": False,
    "download_all_examples": False,
    "min_reported_time": 1,
    "only_warn_on_example_error": False,
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "copyfile_regex": r".*\.rst",
}
suppress_warnings = ["toc.empty_glob", "ref.python"]
