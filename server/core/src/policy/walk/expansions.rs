//! The places within words, assignments and redirections where commands can stand.

use shuck_ast::{
    ArithmeticExpr, ArithmeticExprNode, ArithmeticLvalue, ArrayElem, Assignment, AssignmentValue,
    BourneParameterExpansion, HeredocBodyPart, ParameterOp, Pattern, PatternPart, Redirect,
    RedirectTarget, StmtSeq, VarRef, Word as Tree, WordPart, WordPartNode,
};

use super::{Context, Walker};

impl Walker<'_> {
    pub(super) fn assignments(&mut self, assignments: &[Assignment]) {
        for assignment in assignments {
            self.reference(&assignment.target);
            match &assignment.value {
                AssignmentValue::Scalar(word) => self.tree(word),
                AssignmentValue::Compound(array) => {
                    for element in &array.elements {
                        match element {
                            ArrayElem::Sequential(value) => self.tree(&value.word),
                            ArrayElem::Keyed { key, value }
                            | ArrayElem::KeyedAppend { key, value } => {
                                key.word_ast.iter().for_each(|word| self.tree(word));
                                self.tree(&value.word);
                            }
                        }
                    }
                }
            }
        }
    }

    pub(super) fn reference(&mut self, reference: &VarRef) {
        let Some(subscript) = &reference.subscript else {
            return;
        };
        subscript.word_ast.iter().for_each(|word| self.tree(word));
        subscript
            .arithmetic_ast
            .iter()
            .for_each(|expression| self.arithmetic(expression));
    }

    pub(super) fn redirect(&mut self, redirect: &Redirect) {
        match &redirect.target {
            RedirectTarget::Word(word) => self.tree(word),
            RedirectTarget::Heredoc(heredoc) => {
                for part in &heredoc.body.parts {
                    match &part.kind {
                        HeredocBodyPart::CommandSubstitution { body, .. } => self.substituted(body),
                        HeredocBodyPart::ArithmeticExpansion {
                            expression_word_ast,
                            ..
                        } => {
                            self.tree(expression_word_ast);
                        }
                        HeredocBodyPart::Parameter(expansion) => {
                            expansion.bourne().iter().for_each(|e| self.expansion(e));
                        }
                        HeredocBodyPart::Literal(_) | HeredocBodyPart::Variable(_) => {}
                    }
                }
            }
        }
    }

    pub(super) fn tree(&mut self, word: &Tree) {
        self.parts(&word.parts);
    }

    /// Reads what the shell reads, whatever the command around it does.
    fn substituted(&mut self, body: &StmtSeq) {
        self.within(Context::Substitution, |walker| walker.sequence(body));
    }

    fn parts(&mut self, parts: &[WordPartNode]) {
        for part in parts {
            self.part(&part.kind);
        }
    }

    fn part(&mut self, part: &WordPart) {
        match part {
            WordPart::DoubleQuoted { parts, .. } => self.parts(parts),
            WordPart::CommandSubstitution { body, .. }
            | WordPart::ProcessSubstitution { body, .. } => self.substituted(body),
            WordPart::ArithmeticExpansion {
                expression_ast,
                expression_word_ast,
                ..
            } => {
                expression_ast
                    .iter()
                    .for_each(|expression| self.arithmetic(expression));
                self.tree(expression_word_ast);
            }
            WordPart::Parameter(expansion) => {
                expansion
                    .bourne()
                    .iter()
                    .for_each(|expansion| self.expansion(expansion));
            }
            WordPart::Length(reference)
            | WordPart::ArrayAccess(reference)
            | WordPart::ArrayLength(reference)
            | WordPart::ArrayIndices(reference)
            | WordPart::Transformation { reference, .. } => self.reference(reference),
            _ => self.operation(part),
        }
    }

    /// A parameter with an operator on it.
    fn operation(&mut self, part: &WordPart) {
        match part {
            WordPart::ParameterExpansion {
                reference,
                operator,
                operand_word_ast,
                ..
            } => {
                self.reference(reference);
                self.operator(operator);
                operand_word_ast.iter().for_each(|word| self.tree(word));
            }
            WordPart::IndirectExpansion {
                reference,
                operator,
                operand_word_ast,
                ..
            } => {
                self.reference(reference);
                operator.iter().for_each(|operator| self.operator(operator));
                operand_word_ast.iter().for_each(|word| self.tree(word));
            }
            WordPart::Substring {
                reference,
                offset_word_ast,
                length_word_ast,
                ..
            }
            | WordPart::ArraySlice {
                reference,
                offset_word_ast,
                length_word_ast,
                ..
            } => {
                self.reference(reference);
                self.tree(offset_word_ast);
                length_word_ast.iter().for_each(|word| self.tree(word));
            }
            // Plain text, and what is not bash.
            _ => {}
        }
    }

    fn expansion(&mut self, expansion: &BourneParameterExpansion) {
        match expansion {
            BourneParameterExpansion::Operation {
                reference,
                operator,
                ..
            } => {
                self.reference(reference);
                self.operator(operator);
            }
            BourneParameterExpansion::Indirect {
                reference,
                operator,
                ..
            } => {
                self.reference(reference);
                operator.iter().for_each(|operator| self.operator(operator));
            }
            BourneParameterExpansion::Access { reference }
            | BourneParameterExpansion::Length { reference }
            | BourneParameterExpansion::Indices { reference }
            | BourneParameterExpansion::Slice { reference, .. }
            | BourneParameterExpansion::Transformation { reference, .. } => {
                self.reference(reference);
            }
            BourneParameterExpansion::PrefixMatch { .. } => {}
        }
        let words = [
            expansion.operand_word_ast(),
            expansion.offset_word_ast(),
            expansion.length_word_ast(),
        ];
        words.into_iter().flatten().for_each(|word| self.tree(word));
    }

    fn operator(&mut self, operator: &ParameterOp) {
        match operator {
            ParameterOp::RemovePrefixShort { pattern }
            | ParameterOp::RemovePrefixLong { pattern }
            | ParameterOp::RemoveSuffixShort { pattern }
            | ParameterOp::RemoveSuffixLong { pattern } => self.pattern(pattern),
            ParameterOp::ReplaceFirst {
                pattern,
                replacement_word_ast,
                ..
            }
            | ParameterOp::ReplaceAll {
                pattern,
                replacement_word_ast,
                ..
            } => {
                self.pattern(pattern);
                self.tree(replacement_word_ast);
            }
            ParameterOp::UseDefault
            | ParameterOp::AssignDefault
            | ParameterOp::UseReplacement
            | ParameterOp::Error
            | ParameterOp::UpperFirst
            | ParameterOp::UpperAll
            | ParameterOp::LowerFirst
            | ParameterOp::LowerAll => {}
        }
    }

    pub(super) fn pattern(&mut self, pattern: &Pattern) {
        for part in &pattern.parts {
            match &part.kind {
                PatternPart::Word(word) => self.tree(word),
                PatternPart::Group { patterns, .. } => {
                    patterns.iter().for_each(|pattern| self.pattern(pattern));
                }
                PatternPart::Literal(_)
                | PatternPart::AnyString
                | PatternPart::AnyChar
                | PatternPart::CharClass(_) => {}
            }
        }
    }

    pub(super) fn arithmetic(&mut self, node: &ArithmeticExprNode) {
        match &node.kind {
            ArithmeticExpr::Number(_) | ArithmeticExpr::Variable(_) => {}
            ArithmeticExpr::ShellWord(word) => self.tree(word),
            ArithmeticExpr::Indexed { index: inner, .. }
            | ArithmeticExpr::Parenthesized { expression: inner }
            | ArithmeticExpr::Unary { expr: inner, .. }
            | ArithmeticExpr::Postfix { expr: inner, .. } => self.arithmetic(inner),
            ArithmeticExpr::Binary { left, right, .. } => {
                self.arithmetic(left);
                self.arithmetic(right);
            }
            ArithmeticExpr::Conditional {
                condition,
                then_expr,
                else_expr,
            } => {
                for part in [condition, then_expr, else_expr] {
                    self.arithmetic(part);
                }
            }
            ArithmeticExpr::Assignment { target, value, .. } => {
                if let ArithmeticLvalue::Indexed { index, .. } = target {
                    self.arithmetic(index);
                }
                self.arithmetic(value);
            }
        }
    }
}
